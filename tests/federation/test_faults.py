"""What one client does wrong costs that client its round, and nobody else anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from splitfed.errors import LinkLost, Refused, SplitfedError, TrainingFailed
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.metrics.fingerprint import fingerprint
from splitfed.models.front import Front
from splitfed.types import Images, Phase
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.session import Hello
from tests.federation.harness import BeforeStep, Recorder, train

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]


class CrashError(RuntimeError):
    """A client's process that dies."""


def crash_at(client: int, round_number: int, step: int) -> BeforeStep:
    def before_step(hello: Hello, at: int) -> None:
        if (hello.client, hello.round, hello.phase, at) == (client, round_number, Phase.TRAIN, step):
            raise CrashError

    return before_step


def test_a_round_completes_without_a_client_that_died_and_it_rejoins(job_of: JobOf, shares: Shares) -> None:
    watcher = Recorder()
    result = train(job_of(federation={"rounds": 3}), shares, watcher=watcher, before_step=crash_at(1, 2, 2))
    assert [(number, client) for number, client, _ in watcher.lost] == [(2, 1)]
    assert re.search(r"CrashError \(test_faults.py line \d+\)", watcher.lost[0][2])
    assert [number for number, *_ in watcher.rounds] == [1, 2, 3]
    assert len(result.history) == 3
    assert result.missed_rounds == {1: [2]}
    assert "CrashError" in result.missed_because


def test_partial_updates_of_a_dead_client_are_dropped(job_of: JobOf, shares: Shares) -> None:
    """Dying late or early in a round must make no difference: nothing of the round stays."""
    job = job_of()
    early, late = (train(job, shares, direct=True, before_step=crash_at(1, 2, step)) for step in (1, 4))
    assert fingerprint(early.front.state_dict()) == fingerprint(late.front.state_dict())
    assert fingerprint(early.back.state_dict()) == fingerprint(late.back.state_dict())
    unharmed = train(job, shares, direct=True)
    assert fingerprint(early.back.state_dict()) != fingerprint(unharmed.back.state_dict())
    assert unharmed.missed_rounds == {}


def test_what_watches_the_steps_costs_no_client_its_round(
    job_of: JobOf, shares: Shares, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: StepReport) -> None:
        raise OSError("no space left for the log")

    watcher = Recorder()
    watched = train(job_of(), shares, direct=True, watcher=watcher, on_step=fail)
    assert watcher.lost == []
    assert fingerprint(watched.back.state_dict()) == fingerprint(train(job_of(), shares, direct=True).back.state_dict())
    failures = [record.message for record in caplog.records if "goes on unwatched" in record.message]
    assert sorted(message[:8] for message in failures) == ["client-0", "client-1", "client-2"]  # once each


def test_a_nan_is_refused_at_the_client(job_of: JobOf, shares: Shares) -> None:
    broken = Images(shares[2].train.pixels.clone(), shares[2].train.labels, shares[2].train.classes)
    broken.pixels[7] = float("nan")
    watcher = Recorder()
    result = train(job_of(), [*shares[:2], replace(shares[2], train=broken)], watcher=watcher)
    assert {client for _, client, _ in watcher.lost} == {2}
    assert all("NaN" in reason and "client-2" in reason for _, _, reason in watcher.lost)
    assert all(torch.isfinite(value).all() for value in result.front.state_dict().values())


def test_a_round_in_which_every_client_fails_has_failed_for_good_and_says_why(job_of: JobOf, shares: Shares) -> None:
    def crash(hello: Hello, step: int) -> None:
        raise CrashError(f"{hello.phase.name} step {step}")

    with pytest.raises(TrainingFailed, match=r"round 1: no client finished: 3 × .*CrashError: TRAIN step 0"):
        train(job_of(), shares, direct=True, before_step=crash)


def test_a_round_in_which_no_server_can_be_reached_may_be_tried_again(job_of: JobOf, shares: Shares) -> None:
    def lose(hello: Hello, step: int) -> None:
        raise LinkLost(f"{hello} step {step}: no answer after 5 retries")

    with pytest.raises(SplitfedError, match=r"round 1: no client finished: 3 × LinkLost: client-\*.*--resume") as lost:
        train(job_of(), shares, direct=True, before_step=lose)
    assert not isinstance(lost.value, TrainingFailed)


@pytest.mark.parametrize("phase", [Phase.TEST, Phase.AUDIT])
def test_no_figure_is_made_up_where_every_client_fails_an_evaluation(
    phase: Phase, job_of: JobOf, shares: Shares
) -> None:
    def crash(hello: Hello, _: int) -> None:
        if hello.phase is phase:
            raise CrashError

    what = "the audit" if phase is Phase.AUDIT else "the test of round 1"
    with pytest.raises(TrainingFailed, match=f"{what}: no client finished: 3 × "):
        train(job_of(), shares, direct=True, before_step=crash)


def test_a_client_that_is_lost_in_an_evaluation_has_missed_the_round(job_of: JobOf, shares: Shares) -> None:
    def crash(hello: Hello, _: int) -> None:
        if (hello.client, hello.phase, hello.round) in {(2, Phase.TEST, 1), (0, Phase.AUDIT, 3)}:
            raise CrashError

    watcher = Recorder()
    result = train(job_of(), shares, direct=True, watcher=watcher, before_step=crash)
    assert result.missed_rounds == {2: [1], 0: [3]}
    assert [reason.split(":")[0] for *_, reason in watcher.lost] == ["the test of round 1", "the audit"]


def test_clients_that_cannot_prepare_are_lost_and_say_why(job_of: JobOf, shares: Shares) -> None:
    broken = replace(shares[1], train=shares[1].train[:0])
    watcher = Recorder()
    result = train(job_of("sca"), [shares[0], broken, shares[2]], direct=True, watcher=watcher)
    assert watcher.preparations
    assert watcher.lost[0][:2] == (0, 1)
    assert watcher.lost[0][2].startswith("preparation round 1 of ")
    assert result.missed_rounds[1] == [0, 1, 2, 3]


def test_a_preparation_without_any_client_passes_their_reasons_on(job_of: JobOf, shares: Shares) -> None:
    nothing = [replace(share, train=share.train[:0]) for share in shares]
    with pytest.raises(TrainingFailed, match=r"preparation round 1 of \d+: no client finished: 3 × .* holds 0 images"):
        train(job_of("sca"), nothing, direct=True)


@pytest.mark.parametrize("images", [0, 1])
def test_a_client_with_too_few_images_for_a_batch_says_so(images: int, job_of: JobOf, shares: Shares) -> None:
    watcher = Recorder()
    train(
        job_of(),
        [*shares[:2], replace(shares[2], train=shares[2].train[:images])],
        direct=True,
        watcher=watcher,
    )
    reasons = [reason for number, client, reason in watcher.lost if (number, client) in {(1, 2), (2, 2)}]
    assert len(reasons) == 2
    assert all(f"client-2 TRAIN: holds {images} images; expected at least 2" in reason for reason in reasons)


def test_a_client_without_images_to_test_on_says_so(job_of: JobOf, shares: Shares) -> None:
    watcher = Recorder()
    train(job_of(), [*shares[:2], replace(shares[2], test=shares[2].test[:0])], direct=True, watcher=watcher)
    assert {client for _, client, _ in watcher.lost} == {2}
    assert all("TEST: holds 0 images; expected at least 1" in reason for *_, reason in watcher.lost)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_training_that_diverges_has_failed_and_names_the_cure(optimizer: str, job_of: JobOf, shares: Shares) -> None:
    job = job_of(federation={"learning_rate": 1e30, "optimizer": optimizer})
    with pytest.raises(TrainingFailed, match=r"round 1: .*lower (the|federation\.)\s?learning.rate"):
        train(job, shares, direct=True)


def test_an_average_that_is_not_finite_has_failed_and_names_the_cure(
    job_of: JobOf, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of a round may overflow what all steps before it, and their losses, did not show."""
    monkeypatch.setattr(Front, "after_average", lambda front: next(front.body.parameters()).data.fill_(torch.inf))
    with pytest.raises(TrainingFailed, match=r"round 1: the averaged front .* lower federation.learning_rate"):
        train(job_of(), shares, direct=True)


def test_what_was_missed_outlives_an_interruption(job_of: JobOf, shares: Shares, tmp_path: Path) -> None:
    job = job_of(federation={"rounds": 3})

    def interrupt(round_number: int) -> None:
        if round_number == 2:
            raise ConnectionAbortedError

    kept = tmp_path / "cell.pt"
    with pytest.raises(ConnectionAbortedError):
        train(
            job,
            shares,
            direct=True,
            checkpoint=kept,
            watcher=Recorder(on_round=interrupt),
            before_step=crash_at(2, 1, 0),
        )
    resumed = train(job, shares, direct=True, checkpoint=kept)
    assert resumed.missed_rounds == {2: [1]}
    assert "CrashError" in resumed.missed_because


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        ({"round": 9}, "STALE_ROUND", "you train round 9; I am at 1"),
        ({"phase": Phase.AUDIT}, "STALE_ROUND", "you are in AUDIT of round 1; I am in TRAIN"),
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
    honest = Hello(run=job.run, round=1, client=0, phase=Phase.TRAIN, shape=(48,))
    honest = replace(honest, token=client_token(job.secret, int(str(change.get("client", 0)))))
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
