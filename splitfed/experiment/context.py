"""What is given to a run and to each of its cells: frozen, read by all parts, changed by none."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from splitfed.config.scenario import Cell, Scenario
from splitfed.data import Dataset, Splits
from splitfed.experiment.truth import Truth
from splitfed.experiment.verdict import baseline_scores
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.federation.shares import own_positions, shares
from splitfed.metrics.fid import FrechetMetric, load_frechet_metrics
from splitfed.records import events
from splitfed.records.bus import Bus
from splitfed.records.results import BaselineScore
from splitfed.records.store import RunStore


@dataclass(frozen=True)
class RunContext:
    """What all cells of a run share.

    Attributes:
        scenario: the whole experiment.
        store: the run's directory.
        bus: where events go.
        dataset: where the images come from.
        splits: the images themselves: the victims', the attacker's own, the held-out ones.
    """

    scenario: Scenario
    store: RunStore
    bus: Bus
    dataset: Dataset
    splits: Splits

    @cached_property
    def frechet_metrics(self) -> Sequence[FrechetMetric]:
        """The Fréchet distances that the scenario asks for."""
        return load_frechet_metrics(self.scenario.metrics)

    @cached_property
    def majority_rate(self) -> float:
        """The accuracy of always naming the most frequent class of the held-out images."""
        return float(torch.bincount(self.splits.test.labels).max()) / len(self.splits.test)

    @cached_property
    def baselines(self) -> dict[str, BaselineScore]:
        """What predictors without any activation score."""
        return baseline_scores(self.splits.aux, self.splits.train)

    def notice(self, message: str, level: events.Level = "warning") -> None:
        """Tell the user."""
        self.bus.emit(events.Notice(message=message, level=level))


@dataclass(frozen=True)
class CellContext:
    """One cell of a run.

    Attributes:
        run: what it shares with the others.
        cell: the defense and the seed.
        job: what its server and its clients agree on.
        clients: what each client holds.
        folder: where it leaves what it makes.
    """

    run: RunContext
    cell: Cell
    job: Job
    clients: Sequence[ClientImages]
    folder: Path

    @classmethod
    def of(cls, run: RunContext, cell: Cell) -> CellContext:
        """A cell that nobody has begun, with a secret of its own."""
        train = run.splits.train
        job = Job(
            run=f"{run.store.path.name}/{cell.name}",
            scenario=run.scenario,
            cell=cell,
            shape=train.shape,
            classes=len(train.classes),
            secret=secrets.token_hex(16),
        )
        return cls(run, cell, job, shares(run.scenario, run.splits, cell.seed), run.store.cell_dir(cell.name))

    @cached_property
    def numbers(self) -> list[np.ndarray]:
        """By client, the number of each of its training images: its place among those of the run."""
        run = self.run
        return [own.numpy() for own in own_positions(run.scenario, run.splits.train.labels, self.cell.seed)]

    @property
    def shown(self) -> list[list[int]]:
        """By client, which of its training images are shown while an attack goes on: the first of the run."""
        most = self.run.scenario.attacker.live_images
        return [np.flatnonzero(own < most).tolist() for own in self.numbers]

    @property
    def truth(self) -> Truth:
        """Which image is behind which observation."""
        return Truth(self.job, self.clients)

    @property
    def audit_round(self) -> int:
        """The number under which the final front is audited: the one after the last round."""
        return self.run.scenario.federation.rounds + 1

    @property
    def knowledge(self) -> Path:
        """Where the attacker finds what a participant knows."""
        return self.folder / "knowledge"

    @property
    def observations(self) -> Path:
        """Where the tap records."""
        return self.folder / "observations"

    @property
    def checkpoint(self) -> Path:
        """What a resumed run goes on from."""
        return self.run.store.checkpoints_dir / f"{self.folder.name}.pt"

    def notice(self, message: str) -> None:
        """Warn the user of something in this cell."""
        self.run.notice(f"{self.cell.name}: {message}")
