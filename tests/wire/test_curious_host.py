"""A curious server keeps what it answers, once, and what it refuses not; and serves as if it were not curious."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from splitfed.errors import Refused
from splitfed.types import Observation, Phase
from splitfed.wire.curious_host import CuriousHost
from splitfed.wire.exactly_once import Ledger
from splitfed.wire.link import GrpcLink
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Session, StepResult
from tests.wire.hosts import SECRET, WIDTH, ToyHost, hello
from tests.wire.parties import identity
from tests.wire.training import same, trace, trace_whole, train_front

STEPS = 4
LABELS = torch.zeros(2, dtype=torch.int64)


class Diverging(ToyHost):
    """Its gradients leave float16's range at step 1, where there are any; its losses are infinite from step 2 on."""

    def open(self, hello: object) -> Session:  # type: ignore[override]
        session = super().open(hello)  # type: ignore[arg-type]
        forward = session.forward

        def diverged(step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
            result = forward(step, activation, labels)
            if step == 1 and result.gradient is not None:
                return result._replace(gradient=result.gradient + 1e30)
            return result if step < 2 else result._replace(loss=float("inf"))

        session.forward = diverged  # type: ignore[method-assign]
        return cast("Session", session)


def steps(kept: list[Observation]) -> list[tuple[int, int]]:
    return [(o.client, o.step) for o in kept]


def test_training_is_as_without_it_and_each_step_is_kept_once() -> None:
    host, kept = ToyHost(), list[Observation]()
    with SplitServer(CuriousHost(host, kept.append), secret=SECRET) as server:
        found = trace(GrpcLink([server.address], hello()), lambda: host.sessions[0].back, STEPS)
    assert same(found, trace_whole(STEPS))
    assert steps(kept) == [(0, step) for step in range(STEPS)]
    assert all(torch.equal(o.activation, seen) for o, seen in zip(kept, host.sessions[0].seen, strict=True))


def test_a_step_that_is_asked_for_again_is_kept_once() -> None:
    """Its relay is killed after a step was taken and before the answer came: the server answers from what it kept."""
    host, kept = ToyHost(), list[Observation]()
    with SplitServer(CuriousHost(host, kept.append), secret=SECRET) as server, Relay(server.address) as relay:

        def cut(step: int) -> None:
            if step == 2:
                relay.stop()

        link = GrpcLink([relay.address, server.address], hello())
        trace(link, lambda: host.sessions[0].back, STEPS, before_step=cut)
    assert steps(kept) == [(0, step) for step in range(STEPS)]


def test_under_tls_it_keeps_what_it_keeps_in_clear() -> None:
    kept: dict[bool, list[Observation]] = {False: [], True: []}
    for tls, into in kept.items():
        host = CuriousHost(ToyHost(), into.append)
        credentials = identity("server").server_credentials() if tls else None
        with SplitServer(host, secret=SECRET, credentials=credentials) as server:
            own = identity("client-0").channel_credentials() if tls else None
            train_front(GrpcLink([server.address], hello(), credentials=own), STEPS)
    assert len(kept[True]) == STEPS
    assert all(torch.equal(a.activation, b.activation) for a, b in zip(*kept.values(), strict=True))


@pytest.mark.parametrize("codec", ["float32", "float16"])
def test_what_the_server_refuses_is_not_kept(codec: str) -> None:
    kept = list[Observation]()
    taken = 2 if codec == "float32" else 1  # 1e30 is a float32, and no float16
    with SplitServer(CuriousHost(Diverging(), kept.append), secret=SECRET) as server:
        link = GrpcLink([server.address], hello(codec=codec), retries=0)
        for step in range(taken):
            link.forward(step, torch.ones(2, WIDTH), LABELS)
        with pytest.raises(Refused, match="NOT_FINITE"):
            link.forward(taken, torch.ones(2, WIDTH), LABELS)
    assert steps(kept) == [(0, step) for step in range(taken)]


@pytest.mark.parametrize("phase", [Phase.TEST, Phase.AUDIT])
def test_an_evaluation_is_kept_as_it_is_answered(phase: Phase) -> None:
    kept = list[Observation]()
    seat, turn, _ = Ledger(CuriousHost(Diverging(), kept.append)).take_seat(hello(phase=phase), b"mine")
    seat.forward(turn, 0, torch.ones(2, WIDTH), LABELS)
    assert steps(kept) == [(0, 0)], "before the answer leaves: the audit is whole when its last client is through"
    seat.settle()
    seat.forward(turn, 1, torch.ones(2, WIDTH), LABELS)
    with pytest.raises(Refused, match="NOT_FINITE"):
        seat.forward(turn, 2, torch.ones(2, WIDTH), LABELS)
    assert steps(kept) == [(0, 0), (0, 1)]


def test_no_stranger_is_observed() -> None:
    kept = list[Observation]()
    with SplitServer(CuriousHost(ToyHost(), kept.append), secret=SECRET) as server:
        for changes in ({"token": "guess"}, {"round": 9}, {"run": "other"}):
            with pytest.raises(Refused):
                GrpcLink([server.address], hello(**changes))
        with pytest.raises(Refused, match="BAD_LABELS"):
            GrpcLink([server.address], hello()).forward(0, torch.ones(2, WIDTH), torch.full((2,), 9))
    assert kept == []
