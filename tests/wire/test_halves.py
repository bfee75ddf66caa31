"""Where labels stay with the client a step has two halves; each is applied exactly once, and in its order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from splitfed.errors import FrameError, Refused
from splitfed.types import Observation, Phase
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.codec import CODECS, Encoded, TensorSpec
from splitfed.wire.curious_host import CuriousHost
from splitfed.wire.exactly_once import Ledger, Seat
from splitfed.wire.frames import (
    backward_frame,
    done_frame,
    forward_frame,
    hello_frame,
    reason_name,
    seal,
    sealed,
    unpack,
)
from splitfed.wire.link import DirectLink, GrpcLink
from splitfed.wire.service import SplitServer
from tests.wire.halves import HalvesHost, keeps, trace_halves, trace_halves_whole
from tests.wire.hosts import SECRET, WIDTH, ToyHost, hello
from tests.wire.raw import STREAM, converse
from tests.wire.relay_process import RelayProcess
from tests.wire.training import same

STEPS = 6
BREAK = 3
ONES = torch.ones(2, WIDTH)


@pytest.mark.parametrize("codec", ["float32", "sparse"])
def test_with_and_without_a_wire_it_is_the_whole_network_that_learns(codec: str) -> None:
    direct, remote = HalvesHost(), HalvesHost()
    whole = trace_halves_whole(STEPS)
    assert same(trace_halves(DirectLink(direct, keeps(codec=codec)), lambda: direct.sessions[0].trunk, STEPS), whole)
    with SplitServer(remote, secret=SECRET) as server:
        link = GrpcLink([server.address], keeps(codec=codec))
        assert same(trace_halves(link, lambda: remote.sessions[0].trunk, STEPS), whole)
        assert link.sent_bytes == server.counters.received_bytes
        assert link.received_bytes == server.counters.sent_bytes
    for host in (direct, remote):
        steps = [f"{call} {step}" for step in range(STEPS) for call in ("features", "backward", "update")]
        assert host.sessions[0].calls == [*steps, f"finish {STEPS} {5 * STEPS}"]


@pytest.mark.parametrize(
    "moment",
    [
        "features 0",
        f"features {BREAK}",
        f"backward {BREAK}",
        f"update {BREAK}",
        f"backward {STEPS - 1}",
        f"update {STEPS - 1}",
        f"finish {STEPS} {5 * STEPS}",
    ],
)
@pytest.mark.parametrize("trouble", ["killed", "frozen"])
def test_a_relay_lost_in_either_half_changes_no_weight(moment: str, trouble: str) -> None:
    host = HalvesHost()
    with SplitServer(host, secret=SECRET) as server, RelayProcess(server.address) as relay:
        strike = relay.kill if trouble == "killed" else relay.freeze
        host.trouble = lambda now: strike() if now == moment else None
        link = GrpcLink([relay.address, server.address], keeps(), deadline_s=1.0 if trouble == "frozen" else 10.0)
        assert same(trace_halves(link, lambda: host.sessions[0].trunk, STEPS), trace_halves_whole(STEPS))
    steps = [f"{call} {step}" for step in range(STEPS) for call in ("features", "backward", "update")]
    assert host.sessions[0].calls == [*steps, f"finish {STEPS} {5 * STEPS}"]
    assert host.opened == 1


def test_evaluation_has_only_first_halves() -> None:
    host = HalvesHost()
    with SplitServer(host, secret=SECRET) as server, GrpcLink([server.address], keeps(phase=Phase.TEST)) as link:
        for step in range(2):
            assert link.features(step, ONES).shape == (2, WIDTH)
        with pytest.raises(Refused, match=r"OUT_OF_ORDER: .*a Backward belongs into TRAIN"):
            link.backward(1, ONES)
    assert host.sessions[0].calls == ["features 0", "features 1"]


def test_a_curious_server_keeps_each_activation_without_labels() -> None:
    host, seen = HalvesHost(), list[Observation]()
    link = DirectLink(CuriousHost(host, seen.append), keeps())
    assert same(trace_halves(link, lambda: host.sessions[0].trunk, STEPS), trace_halves_whole(STEPS))
    assert [(o.step, o.labels) for o in seen] == [(step, None) for step in range(STEPS)]


# the seat


def seated(host: HalvesHost) -> tuple[Ledger, Seat, int]:
    ledger = Ledger(host)
    seat, turn, _ = ledger.take_seat(keeps(), b"mine")
    return ledger, seat, turn


def test_each_half_is_answered_from_memory_once_it_was_answered() -> None:
    host = HalvesHost()
    ledger, seat, turn = seated(host)
    features = seat.forward(turn, 0, ONES.clone(), None)
    again, turn, next_step = ledger.take_seat(keeps(next_step=0), b"mine")
    assert (again, next_step) == (seat, 0)
    assert seat.forward(turn, 0, ONES.clone(), None) == features
    gradient = seat.backward(turn, 0, ONES)
    _, turn, next_step = ledger.take_seat(keeps(next_step=0), b"mine")
    assert next_step == 1
    assert seat.backward(turn, 0, ONES) == gradient
    assert seat.backward(turn, 0, ONES[:1]) == gradient, "whatever it holds"
    assert host.sessions[0].calls == ["features 0", "backward 0", "update 0"]
    assert unpack(pb.ServerFrame, features)[0].HasField("features")
    assert unpack(pb.ServerFrame, gradient)[0].HasField("gradient")


Ask = Callable[[Seat, int], object]
OUT_OF_ORDER: dict[str, tuple[list[Ask], str]] = {
    "a gradient before any features": ([lambda s, t: s.backward(t, 0, ONES)], "want step 0; I have no answer"),
    "the next batch before the gradient": (
        [lambda s, t: s.forward(t, 0, ONES.clone(), None), lambda s, t: s.forward(t, 1, ONES.clone(), None)],
        "want step 0, got 1",
    ),
    "a gradient of the step before": (
        [
            lambda s, t: s.forward(t, 0, ONES.clone(), None),
            lambda s, t: s.backward(t, 0, ONES),
            lambda s, t: s.forward(t, 1, ONES.clone(), None),
            lambda s, t: s.backward(t, 0, ONES),
        ],
        "want step 1 Backward; I have no answer to this Backward",
    ),
    "the same batch after its gradient": (
        [
            lambda s, t: s.forward(t, 0, ONES.clone(), None),
            lambda s, t: s.backward(t, 0, ONES),
            lambda s, t: s.forward(t, 0, ONES.clone(), None),
        ],
        "want step 1; I have no answer to this Forward",
    ),
    "done between the halves": (
        [lambda s, t: s.forward(t, 0, ONES.clone(), None), lambda s, t: s.finish(t, 0, 0)],
        "Done: want the gradient of step 0 first",
    ),
}


@pytest.mark.parametrize("name", OUT_OF_ORDER)
def test_what_is_out_of_order_is_refused_and_changes_nothing(name: str) -> None:
    asks, reason = OUT_OF_ORDER[name]
    host = HalvesHost()
    _, seat, turn = seated(host)
    for ask in asks[:-1]:
        ask(seat, turn)
    before = list(host.sessions[0].calls)
    with pytest.raises(Refused, match=f"OUT_OF_ORDER: .*{reason}"):
        asks[-1](seat, turn)
    assert [call for call in host.sessions[0].calls if "update" not in call] == [c for c in before if "update" not in c]


def test_a_gradient_of_another_shape_is_refused_and_a_good_one_still_taken() -> None:
    host = HalvesHost()
    _, seat, turn = seated(host)
    seat.forward(turn, 0, ONES.clone(), None)
    with pytest.raises(Refused, match=r"WRONG_SHAPE: .*want a gradient of the features' shape \(2, 7\), got \(1, 7\)"):
        seat.backward(turn, 0, ONES[:1])
    seat.backward(turn, 0, ONES)
    assert host.sessions[0].calls == ["features 0", "backward 0"]


def test_a_session_that_fails_in_its_second_half_is_given_up() -> None:
    host = HalvesHost()

    def fail(now: str) -> None:
        if now == "backward 0":
            raise RuntimeError(now)

    host.trouble = fail
    _, seat, turn = seated(host)
    seat.forward(turn, 0, ONES.clone(), None)
    with pytest.raises(RuntimeError):
        seat.backward(turn, 0, ONES)
    with pytest.raises(Refused, match=r"INTERNAL: .* its session failed"):
        seat.backward(turn, 0, ONES)


def test_a_client_that_begins_anew_between_the_halves_owes_no_gradient() -> None:
    host = HalvesHost()
    ledger, seat, turn = seated(host)
    seat.forward(turn, 0, ONES.clone(), None)
    seat, turn, next_step = ledger.take_seat(keeps(), b"another")
    assert next_step == 0
    seat.forward(turn, 0, ONES.clone(), None)
    assert host.opened == 2


# the frames


def forward(labels: torch.Tensor | None = None) -> bytes:
    return forward_frame(0, CODECS["float32"].encode(ONES), labels)


def backward(gradient: torch.Tensor = ONES, codec: str = "float32") -> bytes:
    return backward_frame(0, CODECS[codec].encode(gradient))


NO_ROWS = Encoded(TensorSpec((0, WIDTH), "float32"), ())

BAD: dict[str, tuple[list[bytes], str, str]] = {
    "labels": ([forward(torch.tensor([0, 1]))], "BAD_LABELS", "labels stay with the client, and here are 2"),
    "shape": ([forward(), backward(torch.ones(2, 3))], "WRONG_SHAPE", "features' shape"),
    "rows": ([forward(), backward(torch.ones(1, WIDTH))], "WRONG_SHAPE", "features' shape"),
    "no rows": ([forward(), backward_frame(0, NO_ROWS)], "WRONG_SHAPE", "features' shape (2, 7), got (0, 7)"),
    "no batch": (
        [forward(), backward(torch.ones(()))],
        "WRONG_SHAPE",
        "a gradient by (B, d) features, got 0 dimensions",
    ),
    "codec": ([forward(), backward(codec="int8")], "WRONG_CODEC", "want float32 as announced"),
    "not a number": ([forward(), backward(torch.full((2, WIDTH), torch.nan))], "NOT_FINITE", "NaN or infinite"),
    "large": ([forward(), backward(torch.ones(3600, WIDTH))], "OVERSIZED", "at most 100000 bytes"),
    "truncated": ([forward(), sealed(backward()[: -len(seal()) - 4])], "GARBLED", "bytes"),
    "damaged": ([forward(), backward()[:-7] + backward()[-6:]], "CORRUPTED", "its checksum is wrong"),
    "done between": ([forward(), done_frame(0, 0)], "OUT_OF_ORDER", "want the gradient of step 0 first"),
}


@pytest.mark.parametrize(("frames", "reason", "message"), BAD.values(), ids=list(BAD))
def test_bad_input_is_refused_with_its_reason(frames: list[bytes], reason: str, message: str) -> None:
    host = HalvesHost()
    with SplitServer(host, secret=SECRET, max_message_bytes=100_000) as server:
        refusal = converse(server.address, [hello_frame(keeps(), STREAM), *frames])[-1].refusal
        assert (reason_name(refusal.reason), server.counters.refused) == (reason, {reason: 1})
    assert message in refusal.message
    assert "backward 0" not in host.sessions[0].calls


def test_a_backward_where_labels_travel_is_refused() -> None:
    with SplitServer(ToyHost(), secret=SECRET) as server:
        refusal = converse(server.address, [hello_frame(hello(), STREAM), backward()])[-1].refusal
    assert reason_name(refusal.reason) == "OUT_OF_ORDER"
    assert "a Backward belongs into TRAIN, where labels do not travel" in refusal.message


def test_a_gradient_that_is_not_finite_is_not_sent() -> None:
    host = HalvesHost()
    with SplitServer(host, secret=SECRET) as server, GrpcLink([server.address], keeps()) as link:
        link.features(0, ONES)
        with pytest.raises(FrameError, match="the gradient by the features has a NaN or an infinity; it was not sent"):
            link.backward(0, torch.full((2, WIDTH), torch.inf))
    assert host.sessions[0].calls == ["features 0"]
