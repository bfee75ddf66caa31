"""What is given to a run and to each of its cells: frozen, read by all parts, changed by none."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from splitfed.federation.shares import own_positions, shares, split_images, split_seed
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
        splits: the images of its first seed: the victims', the attacker's own, the held-out ones.
        others: those of other seeds that were asked for.
    """

    scenario: Scenario
    store: RunStore
    bus: Bus
    dataset: Dataset
    splits: Splits
    others: dict[int, Splits] = field(default_factory=dict)

    def splits_of(self, seed: int) -> Splits:
        """The images of the cells of a seed."""
        scenario = self.scenario
        if scenario.truth == "clients" or split_seed(scenario, seed) == split_seed(scenario, scenario.seed):
            return self.splits
        if seed not in self.others:
            self.others[seed] = split_images(scenario, self.dataset, seed)
        return self.others[seed]

    @cached_property
    def frechet_metrics(self) -> Sequence[FrechetMetric]:
        """The Fréchet distances that the scenario asks for."""
        return load_frechet_metrics(self.scenario.metrics)

    @cached_property
    def majority_rate(self) -> float:
        """The accuracy of always naming the most frequent class of the held-out images."""
        return float(torch.bincount(self.splits.test.labels).max()) / len(self.splits.test)

    @cached_property
    def baselines_by_seed(self) -> dict[int, dict[str, BaselineScore]]:
        """What predictors without any activation score on the images of each seed."""
        found: dict[int, dict[str, BaselineScore]] = {}
        for seed in sorted({cell.seed for cell in self.scenario.cells()}):
            splits = self.splits_of(seed)
            found[seed] = found[self.scenario.seed] if found and splits is self.splits else _baselines(splits)
        return found

    def notice(self, message: str, level: events.Level = "warning") -> None:
        """Tell the user."""
        self.bus.emit(events.Notice(message=message, level=level))


def _baselines(splits: Splits) -> dict[str, BaselineScore]:
    return baseline_scores(splits.aux, splits.train)


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
        splits = run.splits_of(cell.seed)
        job = Job(
            run=f"{run.store.path.name}/{cell.name}",
            scenario=run.scenario,
            cell=cell,
            shape=splits.train.shape,
            classes=len(splits.train.classes),
            secret=secrets.token_hex(16),
        )
        return cls(run, cell, job, shares(run.scenario, splits, cell.seed), run.store.cell_dir(cell.name))

    @property
    def splits(self) -> Splits:
        """The images of its seed."""
        return self.run.splits_of(self.cell.seed)

    @cached_property
    def numbers(self) -> list[np.ndarray]:
        """By client, the number of each of its training images: its place among those of its seed."""
        labels = self.splits.train.labels
        return [own.numpy() for own in own_positions(self.run.scenario, labels, self.cell.seed)]

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
