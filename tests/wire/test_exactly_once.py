"""A stream that breaks anywhere leaves the weights of one that never broke: each step is applied once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from splitfed.errors import Refused
from splitfed.types import Phase
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.exactly_once import Ledger
from splitfed.wire.frames import unpack
from splitfed.wire.link import GrpcLink
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello, StepResult
from tests.wire.hosts import SECRET, WIDTH, ToyHost, ToySession, hello
from tests.wire.relay_process import RelayProcess
from tests.wire.training import same, trace, trace_whole

STEPS = 8
BREAK = 3


class TroubledSession(ToySession):
    """Has something happen in the middle of its work."""

    def __init__(self, phase: Phase, trouble: Callable[[str], None]) -> None:
        super().__init__(phase)
        self._trouble = trouble

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        self._trouble(f"before forward {step}")
        result = super().forward(step, activation, labels)
        self._trouble(f"after forward {step}")
        return result

    def update(self) -> None:
        self._trouble(f"before update {self.next_step - 1}")
        super().update()
        self._trouble(f"after update {self.next_step - 1}")

    def finish(self, steps: int, examples: int) -> None:
        super().finish(steps, examples)
        self._trouble("after finish")


class TroubledHost(ToyHost):
    """Opens troubled sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: Callable[[str], None] = lambda _: None

    def open(self, hello: Hello) -> ToySession:
        super().open(hello)
        session = self.sessions[hello.client] = TroubledSession(hello.phase, lambda m: self.trouble(m))
        return session


MOMENTS = [
    "before forward 0",
    "after forward 0",
    f"before forward {BREAK}",
    f"after forward {BREAK}",
    f"before update {BREAK}",
    f"after update {BREAK}",
    f"after forward {STEPS - 1}",
    f"before update {STEPS - 1}",
    "after finish",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_relay_killed_in_mid_stream_changes_no_weight(moment: str) -> None:
    host = TroubledHost()
    with SplitServer(host, secret=SECRET) as server, RelayProcess(server.address) as relay:
        host.trouble = lambda now: relay.kill() if now == moment else None
        link = GrpcLink([relay.address, server.address], hello())
        assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))
        assert server.counters.streams == 2
    steps = [call for step in range(STEPS) for call in (f"forward {step}", "update")]
    assert host.sessions[0].calls == [*steps, f"finish {STEPS} {5 * STEPS}"]
    assert host.opened == 1


def test_a_relay_killed_between_two_steps_changes_no_weight() -> None:
    host = ToyHost()
    with SplitServer(host, secret=SECRET) as server, RelayProcess(server.address) as relay:
        link = GrpcLink([relay.address, server.address], hello())
        got = trace(link, lambda: host.sessions[0].back, STEPS, lambda step: relay.kill() if step == BREAK else None)
    assert same(got, trace_whole(STEPS))


@pytest.mark.parametrize("moment", [f"before forward {BREAK}", f"after forward {BREAK}"])
def test_a_relay_frozen_in_mid_stream_changes_no_weight(moment: str) -> None:
    host = TroubledHost()
    with SplitServer(host, secret=SECRET) as server, RelayProcess(server.address) as relay:
        host.trouble = lambda now: relay.freeze() if now == moment else None
        link = GrpcLink([relay.address, server.address], hello(), deadline_s=1.0)
        assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))
    assert host.opened == 1


def test_a_relay_that_was_never_there_changes_no_weight() -> None:
    host = ToyHost()
    with SplitServer(host, secret=SECRET) as server:
        with RelayProcess(server.address) as relay:
            address = relay.address
        link = GrpcLink([address, server.address], hello())
        assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))


def test_a_client_that_comes_back_without_memory_starts_afresh() -> None:
    host = ToyHost()
    with SplitServer(host, secret=SECRET) as server, GrpcLink([server.address], hello()) as died:
        died.forward(0, torch.rand(5, WIDTH), torch.zeros(5, dtype=torch.int64))
        link = GrpcLink([server.address], hello())
        assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))
        with pytest.raises(Refused, match="SUPERSEDED"):
            died.forward(1, torch.rand(5, WIDTH), torch.zeros(5, dtype=torch.int64))
    assert host.opened == 2


def test_a_stream_cannot_go_on_at_a_server_that_lost_it() -> None:
    link = None
    with SplitServer(ToyHost(), secret=SECRET) as server:
        link = GrpcLink([server.address], hello())
        link.forward(0, torch.rand(5, WIDTH), torch.zeros(5, dtype=torch.int64))
        address = server.address
    with (
        SplitServer(ToyHost(), secret=SECRET, address=address),
        link,
        pytest.raises(Refused, match=r"OUT_OF_ORDER: .* no stream to go on with at step 1"),
    ):
        link.forward(1, torch.rand(5, WIDTH), torch.zeros(5, dtype=torch.int64))


LABELS = torch.zeros(2, dtype=torch.int64)


def test_a_step_that_was_applied_is_answered_from_memory() -> None:
    host = ToyHost()
    ledger = Ledger(host)
    seat, turn, _ = ledger.take_seat(hello(), b"mine")
    first = seat.forward(turn, 0, torch.ones(2, WIDTH), LABELS)

    again, turn, next_step = ledger.take_seat(hello(next_step=0), b"mine")
    assert again is seat
    assert next_step == 1
    assert seat.forward(turn, 0, torch.ones(2, WIDTH), LABELS) == first
    assert host.sessions[0].calls == ["forward 0", "update"]

    second = seat.forward(turn, 1, torch.ones(2, WIDTH), LABELS)
    gradients = [unpack(pb.ServerFrame, reply)[0].gradient for reply in (first, second)]
    assert gradients[1].loss < gradients[0].loss


def test_an_update_is_owed_until_it_is_settled_once() -> None:
    host = ToyHost()
    seat, turn, _ = Ledger(host).take_seat(hello(), b"mine")
    seat.forward(turn, 0, torch.ones(2, WIDTH), LABELS)
    assert host.sessions[0].calls == ["forward 0"]
    seat.settle()
    seat.settle()
    assert host.sessions[0].calls == ["forward 0", "update"]


def test_an_older_turn_is_refused() -> None:
    ledger = Ledger(ToyHost())
    seat, old, _ = ledger.take_seat(hello(), b"mine")
    ledger.take_seat(hello(), b"mine")
    with pytest.raises(Refused, match="SUPERSEDED"):
        seat.forward(old, 0, torch.ones(2, WIDTH), LABELS)


@pytest.mark.parametrize("next_step", [0, 3])
def test_a_stream_goes_on_where_it_broke_and_nowhere_else(next_step: int) -> None:
    ledger = Ledger(ToyHost())
    seat, turn, _ = ledger.take_seat(hello(), b"mine")
    for step in range(2):
        seat.forward(turn, step, torch.ones(2, WIDTH), LABELS)
    with pytest.raises(Refused, match=f"cannot go on at step {next_step}, I am at 2"):
        ledger.take_seat(hello(next_step=next_step), b"mine")


def test_a_finished_stream_may_ask_again_but_not_go_on() -> None:
    host = ToyHost()
    ledger = Ledger(host)
    seat, turn, _ = ledger.take_seat(hello(), b"mine")
    seat.forward(turn, 0, torch.ones(2, WIDTH), LABELS)
    seat.finish(turn, 1, 2)
    _, turn, _ = ledger.take_seat(hello(next_step=1), b"mine")
    seat.finish(turn, 1, 2)
    assert host.sessions[0].calls.count("finish 1 2") == 1
    with pytest.raises(Refused, match="has said Done"):
        seat.forward(turn, 1, torch.ones(2, WIDTH), LABELS)


def test_a_session_that_fails_in_its_update_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    host = TroubledHost()
    with SplitServer(host, secret=SECRET) as server, GrpcLink([server.address], hello()) as link:
        host.trouble = fail_at("before update 0")
        link.forward(0, torch.ones(2, WIDTH), LABELS)
        with pytest.raises(Refused, match=r"INTERNAL: .* its session failed"):
            link.forward(1, torch.ones(2, WIDTH), LABELS)
    assert "its update failed" in caplog.text


def fail_at(moment: str) -> Callable[[str], None]:
    def fail(now: str) -> None:
        if now == moment:
            raise RuntimeError(f"failed {moment}")

    return fail


def test_seats_that_no_one_comes_back_to_are_forgotten() -> None:
    host = ToyHost()
    ledger = Ledger(host)
    for round_ in range(1, 6):
        host.round = round_
        for phase in Phase:
            seat, turn, _ = ledger.take_seat(hello(round=round_, phase=phase), b"mine")
            seat.finish(turn, 0, 0)
    assert len(ledger) == 1
