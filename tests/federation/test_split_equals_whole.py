"""Cutting a network and putting a wire into the cut changes no bit of what is learned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F

from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.federation.order import training_batches
from splitfed.metrics.fingerprint import fingerprint
from tests.federation.harness import Recorder, train

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]


def train_whole(job: Job, shares: Shares) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The same rounds with the network in one piece: weights by name, and the loss of each step by client."""
    front, back = job.front(), job.back()
    losses = []
    for number in range(1, job.scenario.federation.rounds + 1):
        models = []
        for client, share in enumerate(shares):
            model = torch.nn.ModuleDict({"front": copy.deepcopy(front), "back": copy.deepcopy(back)})
            optimizers = [job.optimizer(model["front"]), job.optimizer(model["back"])]
            for rows in training_batches(job, client, len(share.train), number):
                loss = F.cross_entropy(
                    model["back"](model["front"](share.train.pixels[rows])), share.train.labels[rows]
                )
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                for optimizer in optimizers:
                    optimizer.step()
                losses.append(loss.item())
            models.append(model)
        total = sum(len(share.train) for share in shares)
        weights = [len(share.train) / total for share in shares]
        for part, name in ((front, "front"), (back, "back")):
            states = [model[name].state_dict() for model in models]
            part.load_state_dict(
                {
                    key: sum(
                        (w * s[key] for w, s in zip(weights, states, strict=True)), torch.zeros_like(states[0][key])
                    )
                    for key in states[0]
                }
            )
    return {**front.state_dict(prefix="front."), **back.state_dict(prefix="back.")}, losses


def weights_of(result: object) -> str:
    return fingerprint(
        {**result.front.state_dict(prefix="front."), **result.back.state_dict(prefix="back.")}  # type: ignore[attr-defined]
    )


def test_weights_and_losses_equal_those_of_the_whole_network(job_of: JobOf, shares: Shares) -> None:
    job = job_of()
    whole, losses = train_whole(job, shares)
    steps: dict[tuple[int, int, int], float] = {}

    def note(report: StepReport) -> None:
        steps[report.round, report.client, report.step] = report.loss

    result = train(job, shares, direct=True, on_step=note)
    assert weights_of(result) == fingerprint(whole)
    assert [steps[key] for key in sorted(steps)] == losses


@pytest.mark.parametrize("defense", ["none", "laplace", "sca"])
def test_grpc_changes_no_bit(defense: str, job_of: JobOf, shares: Shares) -> None:
    job = job_of(defense)
    assert weights_of(train(job, shares)) == weights_of(train(job, shares, direct=True))


def test_another_seed_gives_other_weights(job_of: JobOf, shares: Shares) -> None:
    one, other = (train(job_of(seed=seed), shares, direct=True) for seed in (0, 1))
    assert weights_of(one) != weights_of(other)


def test_a_resumed_run_ends_with_the_same_weights(job_of: JobOf, shares: Shares, tmp_path: object) -> None:
    from pathlib import Path

    job = job_of(federation={"rounds": 3})
    undisturbed = train(job, shares, direct=True)
    checkpoint = Path(str(tmp_path)) / "cell.pt"

    def crash(round_number: int) -> None:
        if round_number == 2:
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train(job, shares, direct=True, checkpoint=checkpoint, watcher=Recorder(on_round=crash))
    watcher = Recorder()
    resumed = train(job, shares, direct=True, checkpoint=checkpoint, watcher=watcher)
    assert [number for number, *_ in watcher.rounds] == [2, 3]  # round 2 crashed before it was saved
    assert weights_of(resumed) == weights_of(undisturbed)
    assert resumed.history == undisturbed.history
