"""Where labels stay with the client, too, the tap emits what the server answers, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from splitfed.errors import WireError
from splitfed.types import Observation, Phase
from splitfed.wire.checks import StreamRules
from splitfed.wire.codec import CODECS, Encoded
from splitfed.wire.frames import (
    accept_frame,
    backward_frame,
    done_frame,
    features_frame,
    forward_frame,
    gradient_frame,
    hello_frame,
    refusal_frame,
    seal,
    sealed,
)
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.tap import Tap
from splitfed.wire.tapped import Room, TappedStream
from tests.wire.halves import HalvesHost, keeps
from tests.wire.hosts import CLASSES, SECRET, WIDTH
from tests.wire.raw import RawCall, proof_of, raw_call

MAX_BYTES = 100_000
RULES = StreamRules(CLASSES, MAX_BYTES)
REFUSAL = refusal_frame("OUT_OF_ORDER", "no")


def sent(shape: tuple[int, ...] = (2, WIDTH), value: float = 1.0, codec: str = "float32") -> Encoded:
    return CODECS[codec].encode(torch.full(shape, value))


def forward(step: int, labels: Tensor | None = None) -> bytes:
    return forward_frame(step, sent(value=1.0 + step), labels)


def backward(step: int, shape: tuple[int, ...] = (2, WIDTH)) -> bytes:
    return backward_frame(step, sent(shape))


def features(step: int) -> bytes:
    return features_frame(step, sent())


def gradient(step: int) -> bytes:
    return gradient_frame(step, 0.0, 0, sent())


@dataclass
class Heard:
    """A stream under the tap, and the steps that it has emitted."""

    phase: Phase = Phase.TRAIN
    steps: list[int] = field(default_factory=list)
    ignored: int = 0

    def __post_init__(self) -> None:
        self.room = Room(10_000)
        self.stream = TappedStream(RULES, self.room, self._emit)
        self.says(hello_frame(keeps(phase=self.phase), b"mine"))

    def _emit(self, observation: Observation) -> None:
        assert observation.labels is None
        assert torch.equal(observation.activation, torch.full((2, WIDTH), 1.0 + observation.step))
        self.steps.append(observation.step)

    def says(self, *questions: bytes) -> Heard:
        for question in questions:
            try:
                self.stream.question(question)
            except WireError:
                self.ignored += 1
        return self

    def hears(self, *answers: bytes) -> Heard:
        for answer in answers:
            self.stream.answer(answer)
        return self

    def ends(self) -> Heard:
        self.stream.end()
        self.room.take(10_000)  # nothing waits any more
        return self


def test_an_activation_counts_once_its_features_are_there() -> None:
    heard = Heard().hears(accept_frame(0)).says(forward(0))
    assert heard.steps == []
    assert heard.hears(features(0)).steps == [0]
    assert heard.says(backward(0)).hears(gradient(0)).steps == [0]
    assert heard.says(forward(1)).hears(features(1)).says(backward(1), done_frame(2, 4)).ends().steps == [0, 1]
    assert heard.ignored == 0


def test_an_evaluation_has_only_first_halves() -> None:
    heard = Heard(Phase.AUDIT).hears(accept_frame(0)).says(forward(0), forward(1)).hears(features(0), features(1))
    assert heard.steps == [0, 1]
    assert heard.says(backward(1)).ignored == 1


def test_a_gradient_answers_no_activation_that_was_sent_ahead() -> None:
    heard = Heard().hears(accept_frame(0)).says(forward(0), backward(0), forward(1)).hears(features(0), gradient(0))
    assert heard.steps == [0]
    assert heard.hears(features(1)).ends().steps == [0, 1]


def test_a_gradient_that_is_sent_again_may_have_any_shape() -> None:
    """The server answers it from memory and goes on, and so does the tap."""
    heard = Heard().hears(accept_frame(0)).says(forward(0)).hears(features(0)).says(backward(0)).hears(gradient(0))
    heard.says(backward(0, shape=(1, WIDTH))).hears(gradient(0)).says(forward(1)).hears(features(1))
    assert heard.steps == [0, 1]
    assert heard.ignored == 0


@pytest.mark.parametrize(
    "questions",
    [[backward(3), forward(4)], [backward(4), forward(5)], [forward(4), backward(4), forward(5)]],
    ids=["after a lost gradient", "in the second half", "in the first half"],
)
def test_a_stream_goes_on_in_either_half(questions: list[bytes]) -> None:
    heard = Heard().hears(accept_frame(4)).says(*questions)
    assert heard.ignored == 0
    assert heard.ends().steps[-1] == 5 - (questions[0] == backward(3))


@pytest.mark.parametrize(
    "bad",
    [
        [forward(1)],
        [backward(1)],
        [backward(0), backward(1)],
        [backward(0), forward(0)],
        [backward(0, shape=(1, WIDTH))],
        [backward(0, shape=())],
        [backward_frame(0, sent(value=torch.nan))],
        [backward_frame(0, sent(codec="int8"))],
        [forward(0, torch.tensor([0, 1]))],
        [backward(0)[:-4]],
        [sealed(backward(0)[: -len(seal()) - 4])],
    ],
)
def test_what_the_server_will_not_take_is_never_emitted_nor_what_follows(bad: list[bytes]) -> None:
    heard = Heard().hears(accept_frame(0)).says(forward(0)).hears(features(0)).says(*bad, backward(0), forward(1))
    assert heard.ends().steps == [0]
    assert heard.ignored >= 1


def test_what_is_refused_is_dropped_with_all_that_follows() -> None:
    heard = Heard().hears(accept_frame(0)).says(forward(0)).hears(features(0)).says(backward(0), forward(1))
    assert heard.hears(REFUSAL).says(forward(2)).ends().steps == [0]


# against a server


def half(position: int) -> bytes:
    """What is said at this place: Forward 0, Backward 0, Forward 1, ..."""
    return backward(position // 2) if position % 2 else forward(position // 2)


FRAMES: dict[str, Callable[[int], bytes]] = {
    "good": half,
    "again": lambda at: half(max(0, at - 1)),
    "long ago": lambda at: half(max(0, at - 2)),
    "too early": lambda at: half(at + 1),
    "far too early": lambda at: half(at + 2),
    "shape": lambda at: backward(at // 2, (2, WIDTH + 1)) if at % 2 else forward_frame(at // 2, sent((2, 3)), None),
    "rows": lambda at: backward(at // 2, (1, WIDTH)),
    "again, other rows": lambda at: backward(max(0, at - 1) // 2, (1, WIDTH)),
    "codec": lambda at: (backward_frame if at % 2 else forward_frame_of)(at // 2, sent(codec="int8")),
    "labels": lambda at: forward(at // 2, torch.tensor([0, 1])),
    "NaN": lambda at: (backward_frame if at % 2 else forward_frame_of)(at // 2, sent(value=torch.nan)),
    "large": lambda at: backward(at // 2, (4000, WIDTH)),
    "hello": lambda _: hello_frame(keeps(), b"another"),
    "done": lambda at: done_frame(at // 2, at // 2 * 2),
    "garbage": lambda _: seal(b"\xff\xff"),
    "damaged": lambda _: b"\xff\xff",
}


def forward_frame_of(step: int, tensor: Encoded) -> bytes:
    return forward_frame(step, tensor, None)


# mostly good, or hardly any stream gets far
kinds = st.lists(st.sampled_from(["good"] * 2 * len(FRAMES) + list(FRAMES)), max_size=9)


@dataclass(frozen=True)
class Script:
    """What one client does: a stream, which it may break off and dial again in the middle of a step."""

    client: int
    frames: list[str]
    more: list[str]
    pipelined: bool
    redialed: bool


scripts = st.builds(
    Script, client=st.integers(0, 2), frames=kinds, more=kinds, pipelined=st.booleans(), redialed=st.booleans()
)


@dataclass
class Player:
    """Plays scripts, and notes which steps were answered with features."""

    address: str
    answered: set[tuple[int, int]] = field(default_factory=set)
    _streams: int = 0

    def play(self, script: Script) -> None:
        self._streams += 1
        stream = b"stream %d" % self._streams
        at = self._dialed(script, stream, script.frames, 0, cut=script.redialed)
        if at is not None and script.redialed:
            self._dialed(script, stream, ["good", *script.more], at, cut=False)

    def _dialed(self, script: Script, stream: bytes, kinds: list[str], at: int, *, cut: bool) -> int | None:
        """Say these frames from this place on; the place to go on from, or None where the stream is over."""
        frames = [hello_frame(keeps(client=script.client, next_step=at // 2), stream)]
        for kind in kinds:
            frames.append(FRAMES[kind](at))
            at += kind == "good"
        with raw_call(self.address, proof_of(script.client, stream)) as call:
            alive = self._say_all(call, frames, script)
            if alive and cut:
                call.say(half(at))  # and do not wait for the answer
        return at if alive and "done" not in kinds else None

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
            if answer.HasField("features"):
                self.answered.add((script.client, answer.features.step))
        return True


@settings(max_examples=60)
@given(st.lists(scripts, min_size=1, max_size=4))
def test_the_tap_emits_what_the_server_answers_with_features(plays: list[Script]) -> None:
    seen: list[Observation] = []
    tap = Tap(seen.append, rules=RULES)
    with (
        SplitServer(HalvesHost(), secret=SECRET, max_message_bytes=MAX_BYTES) as server,
        Relay(server.address, observer=tap) as relay,
    ):
        player = Player(relay.address)
        for script in plays:
            player.play(script)
    assert {(o.client, o.step) for o in seen} == player.answered
    assert all(torch.equal(o.activation, torch.full((2, WIDTH), 1.0 + o.step)) for o in seen)
    assert tap.unparsed == 0
