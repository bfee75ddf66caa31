"""Whatever clients send, the tap emits what the server answers with a gradient, and nothing else; so does a server that
is curious."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitfed.types import Observation
from splitfed.wire.checks import StreamRules
from splitfed.wire.codec import CODECS
from splitfed.wire.curious_host import CuriousHost
from splitfed.wire.frames import done_frame, forward_frame, hello_frame, seal
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.tap import Tap
from tests.wire.hosts import CLASSES, SECRET, WIDTH, ToyHost, hello
from tests.wire.raw import RawCall, proof_of, raw_call

MAX_BYTES = 100_000
RULES = StreamRules(CLASSES, MAX_BYTES)


def forward(step: int, *, shape: tuple[int, ...] = (2, WIDTH), label: int = 0, codec: str = "float32") -> bytes:
    tensor = torch.full(shape, 1.0 + step)
    return forward_frame(step, CODECS[codec].encode(tensor), torch.tensor([0] * (shape[0] - 1) + [label]))


FRAMES: dict[str, Callable[[int], bytes]] = {
    "good": forward,
    "again": lambda step: forward(max(0, step - 1)),
    "too early": lambda step: forward(step + 1),
    "too late": lambda step: forward(max(0, step - 2)),
    "width": lambda step: forward(step, shape=(2, WIDTH + 1)),
    "no width": lambda step: forward(step, shape=(2,)),
    "codec": lambda step: forward(step, codec="int8"),
    "label": lambda step: forward(step, label=CLASSES),
    "labels": lambda step: forward_frame(step, CODECS["float32"].encode(torch.ones(2, WIDTH)), torch.zeros(3).long()),
    "NaN": lambda step: forward_frame(step, CODECS["float32"].encode(torch.full((2, WIDTH), torch.nan)), None),
    "large": lambda step: forward(step, shape=(4000, WIDTH)),
    "hello": lambda _: hello_frame(hello(), b"another"),
    "done": lambda step: done_frame(step, 2 * step),
    "garbage": lambda _: seal(b"\xff\xff"),
    "damaged": lambda _: b"\xff\xff",
}
HELLOS: dict[str, dict[str, object]] = {
    "good": {},
    "round": {"round": 2},
    "width": {"shape": (WIDTH + 1,)},
    "run": {"run": "other"},
}
COMPRESSIONS = {"no": grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip}

# mostly good, or hardly any stream gets far
kinds = st.lists(st.sampled_from(["good"] * len(FRAMES) + list(FRAMES)), max_size=6)


@dataclass(frozen=True)
class Script:
    """What one client does: a stream, which it may break off and dial again in the middle of a step."""

    client: int
    frames: list[str]
    more: list[str]
    hello: str
    pipelined: bool
    redialed: bool
    compression: str


scripts = st.builds(
    Script,
    client=st.integers(0, 2),
    frames=kinds,
    more=kinds,
    hello=st.sampled_from(["good"] * 6 + list(HELLOS)),
    pipelined=st.booleans(),
    redialed=st.booleans(),
    compression=st.sampled_from(["no"] * 4 + ["gzip"]),
)


@dataclass
class Player:
    """Plays scripts, and notes which steps were answered with a gradient."""

    address: str
    answered: set[tuple[int, int]] = field(default_factory=set)
    _streams: int = 0

    def play(self, script: Script) -> None:
        self._streams += 1
        stream = b"stream %d" % self._streams
        step = self._dialed(script, stream, script.frames, 0, cut=script.redialed)
        if step is not None and script.redialed:
            self._dialed(script, stream, ["good", *script.more], step, cut=False)

    def _dialed(self, script: Script, stream: bytes, kinds: list[str], step: int, *, cut: bool) -> int | None:
        """Say these frames from ``step`` on; the step to go on with, or None where the stream is over."""
        introduction = hello(client=script.client, next_step=step, **HELLOS[script.hello])
        proof = proof_of(script.client, stream, run=introduction.run)
        frames = [hello_frame(introduction, stream)]
        for kind in kinds:
            frames.append(FRAMES[kind](step))
            step += kind == "good"
        with raw_call(self.address, proof, compression=COMPRESSIONS[script.compression]) as call:
            alive = self._say_all(call, frames, script)
            if alive and cut:
                call.say(forward(step))  # and do not wait for the answer
        return step if alive and "done" not in kinds else None

    def _say_all(self, call: RawCall, frames: list[bytes], script: Script) -> bool:
        """Whether all of them were taken."""
        if script.pipelined:
            for frame in frames:
                call.say(frame)
        for frame in frames:
            if not script.pipelined:
                call.say(frame)
            answer = call.hear()
            if answer is None or answer.HasField("refusal"):
                return False
            if answer.HasField("gradient"):
                self.answered.add((script.client, answer.gradient.step))
        return True


@settings(max_examples=60)
@given(st.lists(scripts, min_size=1, max_size=4))
def test_tap_and_curious_server_emit_what_is_answered_with_a_gradient(plays: list[Script]) -> None:
    seen: list[Observation] = []
    kept: list[Observation] = []
    tap = Tap(seen.append, rules=RULES)
    with (
        SplitServer(CuriousHost(ToyHost(), kept.append), secret=SECRET, max_message_bytes=MAX_BYTES) as server,
        Relay(server.address, observer=tap) as relay,
    ):
        player = Player(relay.address)
        for script in plays:
            player.play(script)
    assert {(o.client, o.step) for o in seen} == player.answered
    assert {(o.client, o.step) for o in kept} == player.answered
    assert {o.round for o in seen + kept} <= {1}
    assert all(torch.equal(o.activation, torch.full((2, WIDTH), 1.0 + o.step)) for o in seen + kept)
    assert tap.unparsed == 0
