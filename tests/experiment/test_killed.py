"""The attacker is a guest on the wire: what becomes of it changes no bit of what is learned."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from splitfed.attacker import protocol
from splitfed.attacker.config import AttackerConfig, ComponentConfig
from splitfed.attacker.knowledge_files import save_auxiliary
from splitfed.data import Splits
from splitfed.experiment.attacker_process import AttackerProcess
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.metrics.fingerprint import fingerprint
from splitfed.models.front import Front
from splitfed.types import Observation, Phase
from splitfed.wire.observations import read_observations
from splitfed.wire.traffic import ServerTraffic
from tests.federation.harness import Recorder, train

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]


def config(job: Job, folder: Path, upstream: str) -> AttackerConfig:
    return AttackerConfig(
        upstream=upstream,
        knowledge=folder / "knowledge",
        observations=folder / "observations",
        out=folder / "attack",
        shape=job.shape,
        width=job.scenario.model.width,
        defense=ComponentConfig(name=job.cell.defense.name),
        attacks=(ComponentConfig(name="ridge"),),
        keep_rounds=0,
    )


class Tapped(Recorder):
    """A watcher that puts an attacker on the wire, as the lab does."""

    def __init__(self, job: Job, auxiliary: Splits, folder: Path) -> None:
        super().__init__()
        self.heard: list[protocol.Message] = []
        self.handle: AttackerProcess | None = None
        self._job, self._folder = job, folder
        save_auxiliary(folder / "knowledge", auxiliary.aux)

    def serving(self, server_address: str, traffic: ServerTraffic) -> None:  # noqa: ARG002
        self.handle = AttackerProcess(config(self._job, self._folder, server_address), self.heard.append)
        self.addresses = [self.handle.start() or "", server_address]

    def front_sent(self, round_number: int, front: Front) -> None:
        assert self.handle is not None
        if self.handle.alive:
            self.handle.publish_front(round_number, front)

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self.handle is not None:
                self.handle.stop()


def audited(folder: Path, *, rows: int) -> list[Observation]:
    """What the tap recorded of the audit; its parser may lag behind the relay for a moment."""
    deadline = time.monotonic() + 20
    while True:
        observed = list(read_observations(folder, phase=Phase.AUDIT))
        if sum(len(o.activation) for o in observed) >= rows or time.monotonic() > deadline:
            return observed
        time.sleep(0.02)


def test_activations_from_the_tap_equal_those_sent(
    job_of: JobOf, digits: Splits, shares: Shares, tmp_path: Path
) -> None:
    job = job_of(federation={"rounds": 1})
    watcher = Tapped(job, digits, tmp_path)
    with watcher.running():
        result = train(job, shares, watcher=watcher)
        observed = audited(tmp_path / "observations", rows=len(digits.train))
    assert {o.client for o in observed} == {0, 1, 2}
    for number, share in enumerate(shares):
        own = [o.activation for o in observed if o.client == number]
        sent = [result.front(batch) for batch in torch.split(share.train.pixels, job.scenario.federation.batch_size)]
        assert len(own) == len(sent)
        assert all(np.array_equal(a.numpy(), b.detach().numpy()) for a, b in zip(own, sent, strict=True))


@pytest.mark.parametrize("at_step", [0, 3])
def test_an_attacker_killed_in_mid_round_changes_no_weight(
    at_step: int, job_of: JobOf, digits: Splits, shares: Shares, tmp_path: Path
) -> None:
    job = job_of()
    undisturbed = train(job, shares, direct=True)
    watcher = Tapped(job, digits, tmp_path)
    killed = []

    def kill(report: StepReport) -> None:
        if (report.round, report.client, report.step) == (2, 1, at_step):
            assert watcher.handle is not None
            os.kill(watcher.handle.pid, signal.SIGKILL)
            killed.append(report)

    with watcher.running():
        result = train(job, shares, watcher=watcher, on_step=kill)
    assert len(killed) == 1
    assert watcher.lost == []
    assert fingerprint(result.front.state_dict()) == fingerprint(undisturbed.front.state_dict())
    assert fingerprint(result.back.state_dict()) == fingerprint(undisturbed.back.state_dict())
