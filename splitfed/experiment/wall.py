"""The wall of one cell as the lab writes it: what attacks show meanwhile and come to, beside the originals.

Which victims are shown is decided by their numbers, never by looks. A run does not depend on it: what cannot be
written is said once, and left out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from splitfed.errors import UserError
from splitfed.experiment.context import CellContext, RunContext
from splitfed.federation.shares import own_positions
from splitfed.metrics.fast import CACHED_IMAGES, MSE_FLOOR, ssim_of_floats
from splitfed.metrics.reid import nearest_among
from splitfed.records.sheets import save_sheets
from splitfed.records.wall import MOST_VICTIMS, NEAREST, SHOWN_VICTIMS, Victims, WallActivations, WallFolder
from splitfed.records.wall_keeper import WallKeeper
from splitfed.types import Observation, Reconstruction

CANDIDATES = 1000
"""Among so many victims a reconstruction is re-identified, as in the metric of that name."""


def save_victims(run: RunContext) -> None:
    """Write which private images a run has, and the images themselves; a disk that is full costs the wall alone.

    They are those of its first seed, and of others that share its split.
    """
    train, wall = run.splits.train, WallFolder(run.store.path)
    stored = train[:MOST_VICTIMS]
    seeds = sorted({cell.seed for cell in run.scenario.cells() if run.splits_of(cell.seed) is run.splits})
    try:
        sheets = save_sheets(wall.make(), "originals", stored.pixels.numpy())
        wall.save_victims(
            Victims(
                schema=1,
                height=train.shape.height,
                width=train.shape.width,
                channels=train.shape.channels,
                count=len(stored),
                of=len(train),
                classes=train.classes,
                label=tuple(stored.labels.tolist()),
                client={str(seed): tuple(_client_of(run, seed)[: len(stored)].tolist()) for seed in seeds},
                sheets=sheets,
                candidates=min(CANDIDATES, len(stored)),
            )
        )
    except UserError as error:
        run.notice(f"the wall of images is left out: {error}")


def _client_of(run: RunContext, seed: int) -> np.ndarray:
    """Which client holds each training image, -1 where none does."""
    found = np.full(len(run.splits.train), -1, np.int64)
    for client, positions in enumerate(own_positions(run.scenario, run.splits.train.labels, seed)):
        found[positions.numpy()] = client
    return found


class CellWall:
    """Keeps the wall of one cell, beside the truth; a cell whose seed has other victims than the wall is not on it."""

    def __init__(self, context: CellContext) -> None:
        self._run = context.run
        self._train = context.splits.train.pixels
        self._hung = context.splits is context.run.splits
        self._cell = context.cell.name
        self._truth = context.truth
        self._numbers = context.numbers
        self._folder = WallFolder(context.run.store.path)
        self._keeper = WallKeeper(self._folder, self._cell, context.run.bus.emit)
        self._lost = False
        self._lock = threading.Lock()

    def moment(self, attack: str, round_number: int, epoch: int, shown: Reconstruction) -> None:
        """An attack shows itself: all rows of ``shown`` are of private images."""
        if not self._hung:
            return
        with self._lock, self._writing():
            number = self._keeper.next_moment(attack)
            if number is None:
                return
            rows, victims = self._first(shown.index, SHOWN_VICTIMS)
            images, originals = shown.images[rows], self._train[victims]
            ranks, _ = self._ranked(images, victims)
            self._keeper.keep_moment(
                attack,
                images.numpy(),
                number=number,
                round_number=round_number,
                epoch=epoch,
                victims=victims.tolist(),
                **_scores(images, originals),
                reid_rank=tuple(ranks.tolist()),
            )

    def reid_top1(self, shown: Reconstruction) -> float:
        """The share of reconstructions that are nearer to their own original than to any other candidate."""
        ranks, _ = self._ranked(shown.images, torch.from_numpy(self._number(shown.index)))
        return float((ranks == 1).double().mean())

    def final(self, attack: str, is_control: bool, made: Reconstruction) -> None:
        """An attack is done; all rows of ``made`` are of private images."""
        if not self._hung:
            return
        with self._lock, self._writing():
            rows, victims = self._first(made.index, MOST_VICTIMS)
            images, originals = made.images[rows], self._train[victims]
            ranks, nearest = self._ranked(images, victims)
            self._keeper.finish(
                attack,
                images.numpy(),
                is_control=is_control,
                victims=victims.tolist(),
                of=len(made),
                **_scores(images, originals),
                reid_rank=tuple(ranks.tolist()),
                nearest=tuple(map(tuple, nearest.tolist())),
            )

    def activations(self, audited: Sequence[Observation]) -> None:
        """Keep what crossed the wire in the audit for the first victims."""
        if not self._hung:
            return
        with self._lock, self._writing():
            victims, values = [], []
            for observation in audited:
                numbers = self._number(observation.index())
                chosen = numbers < SHOWN_VICTIMS
                victims.append(numbers[chosen])
                values.append(observation.activation[torch.from_numpy(chosen)].numpy())
            if victims:
                order = np.argsort(np.concatenate(victims), kind="stable")
                found = WallActivations(np.concatenate(victims)[order], np.concatenate(values)[order])
                self._folder.save_activations(self._cell, found)

    def _first(self, index: np.ndarray, most: int) -> tuple[Tensor, Tensor]:
        """Of the first victims by number, at most so many and none that is not stored: row of each, and number."""
        numbers = self._number(index)
        rows = np.unique(numbers, return_index=True)[1]
        rows = rows[numbers[rows] < MOST_VICTIMS][:most]
        return torch.from_numpy(rows), torch.from_numpy(numbers[rows])

    def _ranked(self, images: Tensor, victims: Tensor) -> tuple[Tensor, Tensor]:
        """Where each original stands among the candidates, and which of them are nearest to its reconstruction."""
        return nearest_among(images, self._train[victims], self._train[:CANDIDATES], victims, count=NEAREST)

    def _number(self, index: np.ndarray) -> np.ndarray:
        """The number of the victim behind each row of an opaque index."""
        clients, rows = self._truth.rows(index)
        found = np.zeros(len(index), np.int64)
        for client in np.unique(clients):
            own = clients == client
            found[own] = self._numbers[client][rows[own]]
        return found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say once that something cannot be written."""
        try:
            yield
        except (UserError, OSError) as error:
            if not self._lost:
                self._lost = True
                self._run.notice(f"{self._cell}: pictures are missing on the wall of images: {error}")


def _scores(images: Tensor, originals: Tensor) -> dict[str, tuple[float, ...]]:
    """PSNR and SSIM of each image, to as many digits as anybody looks at.

    In float32, which is twice as fast as the double of `metrics.fast`: the SSIM of an image is off by less than 0.001.
    """
    psnr, structure = [], []
    for made, own in zip(torch.split(images, CACHED_IMAGES), torch.split(originals, CACHED_IMAGES), strict=True):
        made = made.float().clamp(0, 1)
        mse = (made - own).square().flatten(1).mean(dim=1)
        psnr += (-10 * mse.clamp_min(MSE_FLOOR).log10()).tolist()
        structure += ssim_of_floats(made, own).tolist()
    return {"psnr_db": _rounded(psnr), "ssim": _rounded(structure)}


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)
