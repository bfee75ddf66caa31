"""Malformed inputs crash, leak, and disturb nothing; and the suite that says so sees what is broken on purpose."""

from __future__ import annotations

import hmac
import json
import re
import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from torch import Tensor

from splitfed.bench.fuzz import command
from splitfed.bench.fuzz.conversations import CLIENT_FRAME, good_dial, spoilt_dials
from splitfed.bench.fuzz.host import ATTACKERS, NotingSession
from splitfed.bench.fuzz.http2_frames import NONSENSE
from splitfed.bench.fuzz.inputs import randomness
from splitfed.bench.fuzz.live_cases import _spoilt_connection
from splitfed.bench.fuzz.messages import BYTE_MUTATIONS, drawn, mutated
from splitfed.bench.fuzz.target import target
from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.wire import checks, door, exactly_once, http2, proof, stream, tap, tapped, traffic
from splitfed.wire.frames import read_spec, read_tensor, sealed, unpack

INPUTS = 20_000
REASONS = {
    *("BAD_TOKEN", "STALE_ROUND", "WRONG_SHAPE", "OVERSIZED", "GARBLED", "NOT_FINITE", "OUT_OF_ORDER"),
    *("UNKNOWN_CODEC", "WRONG_CODEC", "BAD_LABELS", "REPLAYED", "CORRUPTED"),
}
"""What the inputs are refused for. UNKNOWN_RUN and UNKNOWN_CLIENT take a good proof of another run or client, of which
nobody has the token; TOO_MANY_STREAMS and SUPERSEDED are no matter of what is said."""


@pytest.mark.slow
def test_twenty_thousand_malformed_inputs_are_accounted_for_and_disturb_nobody() -> None:
    """In a process of its own, so that its memory is that of the suite."""
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "splitfed", "bench", "fuzz", "--inputs", str(INPUTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line for line in lines if "failure" in line] == []
    assert ran.returncode == exit_codes.OK, ran.stderr
    cases = {line["case"]: line for line in lines}
    assert set(cases) == set(command.SHARES)
    assert sum(line["inputs"] for line in lines) >= INPUTS
    for name in ("conversations", "proofs"):
        assert sum(cases[name]["became"].values()) == cases[name]["inputs"]
    assert set(cases["conversations"]["became"]) | set(cases["proofs"]["became"]) >= REASONS
    assert 0.03 < cases["conversations"]["became"]["CORRUPTED"] / cases["conversations"]["inputs"] < 0.12
    for name in ("answers", "connections"):  # bad enough to cost something, and good enough to be read
        became = cases[name]["became"]
        assert 0.1 < sum(became.get(f"{steps} observed", 0) for steps in (1, 2, 3, 4)) / cases[name]["inputs"] < 0.9
    for name in ("streams", "sockets"):
        assert cases[name]["honest_trainings"] >= 4
        assert cases[name]["blinded"] <= cases[name]["inputs"] / 50


# what is drawn


def test_an_input_is_a_function_of_seed_case_and_number() -> None:
    def frames(seed: int, number: int) -> list[list[bytes]]:
        return [dialed.frames for dialed in spoilt_dials(randomness(seed, "conversations", number), number)]

    def nonsense(seed: int) -> list[bytes]:
        rng = randomness(seed, "sockets", 0)
        return [make(rng, 1) for make in NONSENSE.values()]

    assert [frames(5, n) for n in range(50)] == [frames(5, n) for n in range(50)]
    assert [frames(5, n) for n in range(50)] != [frames(6, n) for n in range(50)]
    assert nonsense(5) == nonsense(5) != nonsense(6)


@pytest.fixture(scope="module")
def protocol() -> type[Message]:
    """A protocol that nobody has heard of, with a field of each kind, and messages within messages."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="new.proto", package="new", syntax="proto3")
    said = file.message_type.add(name="Said")
    said.enum_type.add(name="Mood").value.add(name="NONE", number=0)
    said.oneof_decl.add(name="body")
    plain = ("INT32", "UINT64", "SINT32", "FIXED64", "SFIXED32", "DOUBLE", "FLOAT", "BOOL", "STRING", "BYTES")
    for number, kind in enumerate(plain, 1):
        said.field.add(name=kind.lower(), number=number, type=kinds.Type.Value(f"TYPE_{kind}"), label=1)
        said.field.add(name=f"many_{kind.lower()}", number=50 + number, type=kinds.Type.Value(f"TYPE_{kind}"), label=3)
    said.field.add(name="mood", number=20, type=kinds.TYPE_ENUM, type_name=".new.Said.Mood", label=1)
    said.field.add(name="inner", number=21, type=kinds.TYPE_MESSAGE, type_name=".new.Said", label=1, oneof_index=0)
    said.field.add(name="many", number=22, type=kinds.TYPE_MESSAGE, type_name=".new.Said", label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("new.Said"))


def test_a_new_message_is_drawn_without_being_listed(protocol: type[Message]) -> None:
    rng = Random(0)
    messages: list[Any] = [drawn(protocol, rng) for _ in range(60)]
    seen = {field.name for message in messages for field, _ in message.ListFields()}
    assert seen == {field.name for field in protocol.DESCRIPTOR.fields}
    assert any(message.inner.many_double or message.inner.inner.ByteSize() for message in messages)
    raw = messages[0].SerializeToString()
    changed = {mutated(raw, protocol, rng) for _ in range(300)}
    assert len(changed - {raw}) > 200


@pytest.mark.parametrize("mutation", BYTE_MUTATIONS)
def test_each_change_of_bytes_changes_them(mutation: Callable[[bytes, type[Message], Random], bytes]) -> None:
    rng = Random(0)
    raw = good_dial(rng, 0).frames[0]
    assert sum(mutation(raw, CLIENT_FRAME, rng) != raw for _ in range(40)) > 30
    assert all(isinstance(mutation(b"", CLIENT_FRAME, rng), bytes) for _ in range(40))


def test_a_connection_is_known_by_its_batches() -> None:
    """No two inputs of ``sockets`` have one in common, and without a proof there is none to observe."""
    sent = [_spoilt_connection(randomness(0, "sockets", n), n, ATTACKERS[0])[1] for n in range(200)]
    marks = [mark for each in sent for mark in each.values()]
    assert len(set(marks)) == len(marks) > 200
    assert 10 < sum(not each for each in sent) < 80


# the gate itself: each of these is broken on purpose, and the suite has to see it


def test_what_is_not_broken_passes() -> None:
    for name in command.INSIDE:
        assert command.inside(name, range(100), 0).failures == []


def _nothing(*_: object, **__: object) -> None:
    """What a rule does that lets everything through."""


def a_rule_raises(patch: pytest.MonkeyPatch) -> None:
    rule = checks.StreamRules._check_codec

    def broken(self: checks.StreamRules, hello: Any, step: int, spec: Any) -> None:
        if spec.shape[0] == 0:
            raise KeyError(spec.shape)
        rule(self, hello, step, spec)

    patch.setattr(checks.StreamRules, "_check_codec", broken)


def labels_are_let_through(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checks, "check_labels", _nothing)


def any_step_is_answered(patch: pytest.MonkeyPatch) -> None:
    again = exactly_once.Seat._again

    def broken(self: exactly_once.Seat, *asked: Any) -> bytes:
        return self._reply or again(self, *asked)

    patch.setattr(exactly_once.Seat, "_again", broken)


def a_half_may_be_left_out(patch: pytest.MonkeyPatch) -> None:
    forward = exactly_once.Seat.forward

    def broken(self: exactly_once.Seat, *asked: Any) -> bytes:
        self._features = None
        return forward(self, *asked)

    patch.setattr(exactly_once.Seat, "forward", broken)


def a_gradient_may_have_any_shape(patch: pytest.MonkeyPatch) -> None:
    backward = exactly_once.Seat.backward

    def broken(self: exactly_once.Seat, turn: int, step: int, gradient: Tensor) -> bytes:
        self._features = self._features and tuple(gradient.shape)
        return backward(self, turn, step, gradient)

    patch.setattr(exactly_once.Seat, "backward", broken)


def a_gradient_may_be_anything(patch: pytest.MonkeyPatch) -> None:
    def broken(_: checks.StreamRules, __: Any, message: Any, data: memoryview) -> Tensor:
        return read_tensor(read_spec(message.tensor), data)

    patch.setattr(checks.StreamRules, "gradient", broken)


def the_tap_takes_a_gradient_for_features(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tapped.TappedStream, "_keeps_labels", False)


def no_checksum_is_checked(patch: pytest.MonkeyPatch) -> None:
    def broken(kind: Any, raw: bytes) -> Any:
        return unpack(kind, sealed(raw))

    patch.setattr(stream, "unpack", broken)


def the_tap_has_a_rule_of_its_own(patch: pytest.MonkeyPatch) -> None:
    def stricter(hello: Any, step: int, *, next_step: int) -> None:
        checks.check_step(hello, step, next_step=next_step)
        if step != next_step:
            raise checks.refusal("OUT_OF_ORDER", hello, step, "not again")

    patch.setattr(tapped, "check_step", stricter)


def the_tap_takes_what_is_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tapped.TappedStream, "_drop", tapped.TappedStream.end)


def the_tap_keeps_its_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tapped.Room, "give_back", _nothing)


def refusals_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(traffic.ServerTraffic, "refuse", _nothing)


def the_door_does_not_know_a_client(patch: pytest.MonkeyPatch) -> None:
    enter = door.Door._enter

    def broken(self: door.Door, claim: proof.Claim, place: Any) -> Any:
        if claim.number == 0:
            raise KeyError(claim.client)
        return enter(self, claim, place)

    patch.setattr(door.Door, "_enter", broken)


def any_proof_is_good(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hmac, "compare_digest", lambda *_: True)


def a_proof_is_good_again(patch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[int, int]):
        def get(self, _: int, default: Any = None) -> Any:
            return default

    made = door.Door.__init__

    def broken(self: door.Door, secret: str, places: int) -> None:
        made(self, secret, places)
        self._highest = Forgetful()

    patch.setattr(door.Door, "__init__", broken)


def an_answer_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    def broken(kind: Any, raw: bytes) -> Any:
        frame = kind()
        frame.ParseFromString(raw)
        return frame, memoryview(b"")

    patch.setattr(tapped, "unpack", broken)


def padding_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        http2, "_without_padding", lambda frame: frame.body[1 : -frame.body[0]] if frame.flags & 8 else frame.body
    )


def portions_matter(patch: pytest.MonkeyPatch) -> None:
    frames = http2._frames
    patch.setattr(http2, "_frames", lambda view: frames(view[: len(view) - len(view) % 2]))


BROKEN: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("conversations", a_rule_raises),
    ("conversations", labels_are_let_through),
    ("conversations", any_step_is_answered),
    ("conversations", a_half_may_be_left_out),
    ("conversations", a_gradient_may_have_any_shape),
    ("conversations", a_gradient_may_be_anything),
    ("conversations", the_tap_takes_a_gradient_for_features),
    ("conversations", no_checksum_is_checked),
    ("conversations", the_tap_has_a_rule_of_its_own),
    ("conversations", the_tap_takes_what_is_refused),
    ("conversations", the_tap_keeps_its_room),
    ("conversations", refusals_are_not_counted),
    ("proofs", the_door_does_not_know_a_client),
    ("proofs", any_proof_is_good),
    ("proofs", a_proof_is_good_again),
    ("proofs", refusals_are_not_counted),
    ("answers", an_answer_is_not_checked),
    ("answers", the_tap_keeps_its_room),
    ("connections", padding_is_not_checked),
    ("connections", portions_matter),
]


@pytest.mark.parametrize(("case", "break_it"), BROKEN, ids=[f"{case}: {how.__name__}" for case, how in BROKEN])
def test_what_is_broken_on_purpose_is_found(
    monkeypatch: pytest.MonkeyPatch, case: str, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    break_it(monkeypatch)
    failures = command.inside(case, range(1000), 0).failures
    assert failures
    assert all(len(failure.numbers) == 1 for failure in failures), "the input is known"


def test_what_is_kept_of_each_connection_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    closed = tap.Tap.closed

    def broken(self: tap.Tap, connection: int) -> None:
        kept.append(object())
        closed(self, connection)

    monkeypatch.setattr(tap.Tap, "closed", broken)
    (failure,) = command.inside("answers", range(2200), 0).failures
    assert "blocks_grown" in failure.why
    assert len(kept) == 2200


def test_a_failure_ends_with_1_and_says_how_to_repeat_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    the_door_does_not_know_a_client(monkeypatch)
    assert main(["bench", "fuzz", "--case", "proofs", "--inputs", "600", "--seed", "3"]) == exit_codes.BUG
    summary, *failures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(summary["became"].values()) + len(failures) <= 600
    first = failures[0]
    assert first["failure"].startswith("KeyError")
    _, *again = first["again"].split()
    assert main(again) == exit_codes.BUG
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()][1] == first
    monkeypatch.undo()
    assert main(again) == exit_codes.OK


# over the network


def the_tap_raises() -> None:
    def broken(*_: object) -> None:
        raise KeyError("gone")

    setattr(tap.Tap, "_take_end", broken)  # noqa: B010 - mypy takes the plain form for a mistake


def a_refusal_disturbs_another_client() -> None:
    disturbed = []
    refuse, update = traffic.ServerTraffic.refuse, NotingSession.update

    def refused(self: traffic.ServerTraffic, reason: str) -> None:
        disturbed.append(reason)
        refuse(self, reason)

    def updated(self: NotingSession) -> None:
        if disturbed:
            disturbed.clear()
        else:
            update(self)

    setattr(traffic.ServerTraffic, "refuse", refused)  # noqa: B010
    setattr(NotingSession, "update", updated)  # noqa: B010


def a_stream_is_counted_twice() -> None:
    count = traffic.ServerTraffic.count

    def broken(self: traffic.ServerTraffic, **more: int) -> None:
        count(self, **more, **({"broken": 1} if "finished" in more else {}))

    setattr(traffic.ServerTraffic, "count", broken)  # noqa: B010


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (the_tap_raises, "errors in the target: .*KeyError"),
        (a_refusal_disturbs_another_client, "has trained, to the bit"),
        (a_stream_is_counted_twice, "streams that ended, one way each"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_broken_in_the_target_is_found(break_it: Callable[[], None], found: str) -> None:
    with target(break_it) as aim:
        (failure,) = command.live("streams", range(40), 0, aim).failures
    assert re.search(found, failure.why), failure.why
