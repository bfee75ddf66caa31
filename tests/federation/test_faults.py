"""What one client does wrong costs that client its round, and nobody else anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from splitfed.errors import Refused, SplitfedError
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.metrics.fingerprint import fingerprint
from splitfed.types import Images, Phase
from splitfed.wire.link import GrpcLink
from splitfed.wire.session import Hello
from tests.federation.harness import Recorder, train

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]


class CrashError(RuntimeError):
    """A client's process that dies."""


def crash_at(client: int, round_number: int, step: int) -> Callable[[StepReport], None]:
    def on_step(report: StepReport) -> None:
        if (report.client, report.round, report.step) == (client, round_number, step):
            raise CrashError

    return on_step


def test_a_round_completes_without_a_client_that_died_and_it_rejoins(job_of: JobOf, shares: Shares) -> None:
    watcher = Recorder()
    result = train(job_of(federation={"rounds": 3}), shares, watcher=watcher, on_step=crash_at(1, 2, 1))
    assert [(number, client) for number, client, _ in watcher.lost] == [(2, 1)]
    assert "CrashError" in watcher.lost[0][2]
    assert [number for number, *_ in watcher.rounds] == [1, 2, 3]
    assert len(result.history) == 3


def test_partial_updates_of_a_dead_client_are_dropped(job_of: JobOf, shares: Shares) -> None:
    """Dying late or early in a round must make no difference: nothing of the round stays."""
    job = job_of()
    early, late = (train(job, shares, direct=True, on_step=crash_at(1, 2, step)) for step in (0, 4))
    assert fingerprint(early.front.state_dict()) == fingerprint(late.front.state_dict())
    assert fingerprint(early.back.state_dict()) == fingerprint(late.back.state_dict())
    unharmed = train(job, shares, direct=True)
    assert fingerprint(early.back.state_dict()) != fingerprint(unharmed.back.state_dict())


def test_a_nan_is_refused_at_the_client(job_of: JobOf, shares: Shares) -> None:
    broken = Images(shares[2].train.pixels.clone(), shares[2].train.labels, shares[2].train.classes)
    broken.pixels[7] = float("nan")
    watcher = Recorder()
    result = train(job_of(), [*shares[:2], replace(shares[2], train=broken)], watcher=watcher)
    assert {client for _, client, _ in watcher.lost} == {2}
    assert all("NaN" in reason and "client-2" in reason for _, _, reason in watcher.lost)
    assert all(torch.isfinite(value).all() for value in result.front.state_dict().values())


def test_a_round_without_any_client_is_an_error_that_names_the_way_out(job_of: JobOf, shares: Shares) -> None:
    def crash(_: StepReport) -> None:
        raise CrashError

    with pytest.raises(SplitfedError, match=r"round 1: no client finished.*--resume"):
        train(job_of(), shares, direct=True, on_step=crash)


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"round": 9}, "STALE_ROUND", "you train round 9; I am at 1"),
        ({"client": 3}, "UNKNOWN_CLIENT", "you are client 3; I know 0 to 2"),
        ({"run": "other"}, "UNKNOWN_RUN", "you name run 'other'"),
        ({"shape": (47,)}, "WRONG_SHAPE", r"want activations \(48,\), got \(47,\)"),
        ({"token": "guess"}, "BAD_TOKEN", "token"),
    ],
)
def test_a_stranger_is_refused_with_a_reason_and_disturbs_nobody(
    change: dict[str, object], reason: str, says: str, job_of: JobOf, shares: Shares
) -> None:
    job = job_of()
    honest = Hello(run=job.run, round=1, client=0, phase=Phase.TRAIN, shape=(48,), token=job.token)
    addresses: list[str] = []
    refusals: list[Refused] = []

    def route(address: str) -> list[str]:
        addresses.append(address)
        return addresses

    def intrude(report: StepReport) -> None:
        if (report.round, report.client, report.step) == (1, 1, 2):
            with pytest.raises(Refused, match=says) as refused:
                GrpcLink(addresses, replace(honest, **change), deadline_s=10)  # type: ignore[arg-type]
            refusals.append(refused.value)

    watcher = Recorder(route_to=route)
    result = train(job, shares, watcher=watcher, on_step=intrude)
    assert [refused.reason for refused in refusals] == [reason]
    assert watcher.lost == []
    assert result.refused == {reason: 1}
    assert fingerprint(result.back.state_dict()) == fingerprint(train(job, shares, direct=True).back.state_dict())


@pytest.mark.parametrize("strategy", ["FedMedian", "FedTrimmedAvg"])
def test_another_strategy_of_flower_averages_the_fronts(strategy: str, job_of: JobOf, shares: Shares) -> None:
    other = train(job_of(federation={"strategy": strategy}), shares, direct=True)
    mean = train(job_of(), shares, direct=True)
    assert fingerprint(other.front.state_dict()) != fingerprint(mean.front.state_dict())
    assert other.accuracy > 0.15
