"""The wall of one cell as the lab writes it: what attacks show meanwhile and come to, beside the originals.

Which victims are shown is decided by their numbers, never by looks. A run does not depend on it: what cannot be
written is said once, and left out.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from splitfed.errors import UserError
from splitfed.experiment.context import CellContext, RunContext
from splitfed.federation.shares import own_positions
from splitfed.files import file_name
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.metrics.reid import nearest_among
from splitfed.records import events
from splitfed.records.sheets import save_sheet, save_sheets
from splitfed.records.wall import (
    MOST_MOMENTS,
    MOST_VICTIMS,
    NEAREST,
    SHOWN_VICTIMS,
    Victims,
    WallActivations,
    WallAttack,
    WallFinal,
    WallFolder,
    WallShown,
)
from splitfed.types import Observation, Reconstruction

CANDIDATES = 1000
"""Among so many victims a reconstruction is re-identified, as in the metric of that name."""


def save_victims(run: RunContext) -> None:
    """Write which private images a run has, and the images themselves; a disk that is full costs the wall alone."""
    train, wall = run.splits.train, WallFolder(run.store.path)
    stored = train[:MOST_VICTIMS]
    seeds = sorted({cell.seed for cell in run.scenario.cells()})
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
    """Keeps the wall of one cell."""

    def __init__(self, context: CellContext) -> None:
        self._run = context.run
        self._cell = context.cell.name
        self._truth = context.truth
        self._folder = WallFolder(context.run.store.path)
        self._numbers = context.numbers
        self._attacks: dict[str, WallAttack] = {}
        self._shown: dict[str, int] = {}
        """How often each attack has shown itself."""
        self._lost = False
        self._lock = threading.Lock()
        shutil.rmtree(self._folder.cell(self._cell), ignore_errors=True)  # an interrupted attempt's

    def moment(self, attack: str, round_number: int, epoch: int, shown: Reconstruction) -> None:
        """An attack shows itself: all rows of ``shown`` are of private images."""
        with self._lock, self._writing():
            number = self._shown.get(attack, 0)
            self._shown[attack] = number + 1
            record = self._attacks.get(attack) or self._begun(attack)
            if number % record.stride == 0:
                self._keep_moment(record, number, round_number, epoch, shown)

    def reid_top1(self, shown: Reconstruction) -> float:
        """The share of reconstructions that are nearer to their own original than to any other candidate."""
        victims = self._number(shown.index)
        originals = self._run.splits.train.pixels[torch.from_numpy(victims)]
        ranks, _ = self._ranked(shown.images, originals, victims)
        return float((ranks == 1).double().mean())

    def final(self, attack: str, is_control: bool, made: Reconstruction) -> None:
        """An attack is done; all rows of ``made`` are of private images."""
        with self._lock, self._writing():
            record = (self._attacks.get(attack) or self._begun(attack)).model_copy(update={"is_control": is_control})
            record = record.model_copy(update={"final": self._judged(attack, made)})
            self._save(record)
            path = self._folder.cell(self._cell) / f"{file_name(attack)}.json"
            self._emit(
                events.WallFinished(
                    cell=self._cell, attack=attack, record=path.relative_to(self._run.store.path).as_posix()
                )
            )

    def activations(self, audited: Sequence[Observation]) -> None:
        """Keep what crossed the wire in the audit for the first victims."""
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

    def _begun(self, attack: str) -> WallAttack:
        self._folder.make(self._cell)
        return WallAttack(schema=1, cell=self._cell, attack=attack, is_control=False, moments=(), stride=1)

    def _keep_moment(
        self, record: WallAttack, number: int, round_number: int, epoch: int, shown: Reconstruction
    ) -> None:
        chosen, victims = self._chosen(shown.index)
        images = shown.images[chosen]
        originals = self._truth.originals(shown.index[chosen.numpy()]).pixels
        ranks, _ = self._ranked(images, originals, np.array(victims))
        sheet = f"{file_name(record.attack)}@{number}.png"
        moment = WallShown(
            number=number,
            round=round_number,
            epoch=epoch,
            sheet=sheet,
            victims=victims,
            psnr_db=_told(fast_psnr_db(images, originals)),
            ssim=_told(fast_ssim(images, originals)),
            reid_rank=tuple(ranks.tolist()),
        )
        save_sheet(self._folder.cell(self._cell) / sheet, images.numpy())
        self._save(record.model_copy(update={"moments": (*record.moments, moment)}))
        self._emit(events.WallMoment(cell=self._cell, attack=record.attack, **moment.model_dump()))
        self._thin(record.attack)

    def _thin(self, attack: str) -> None:
        """Drop every other moment of those that are too many."""
        record = self._attacks[attack]
        if len(record.moments) <= MOST_MOMENTS:
            return
        stride = 2 * record.stride
        kept = tuple(moment for moment in record.moments if moment.number % stride == 0)
        self._save(record.model_copy(update={"moments": kept, "stride": stride}))
        for moment in record.moments:
            if moment.number % stride:
                (self._folder.cell(self._cell) / moment.sheet).unlink(missing_ok=True)

    def _chosen(self, index: np.ndarray) -> tuple[Tensor, tuple[int, ...]]:
        """Which rows a moment shows, by the number of the victim, and these numbers."""
        numbers = self._number(index)
        first = np.unique(numbers, return_index=True)[1][:SHOWN_VICTIMS]
        return torch.from_numpy(first), tuple(numbers[first].tolist())

    def _judged(self, attack: str, made: Reconstruction) -> WallFinal:
        numbers = self._number(made.index)
        kept = np.unique(numbers, return_index=True)[1]
        kept = kept[numbers[kept] < MOST_VICTIMS]
        victims = numbers[kept]
        images = made.images[torch.from_numpy(kept)]
        originals = self._run.splits.train.pixels[torch.from_numpy(victims)]
        ranks, nearest = self._ranked(images, originals, victims)
        return WallFinal(
            victims=tuple(victims.tolist()),
            of=len(made),
            sheets=save_sheets(self._folder.cell(self._cell), file_name(attack), images.numpy()),
            psnr_db=_told(fast_psnr_db(images, originals)),
            ssim=_told(fast_ssim(images, originals)),
            reid_rank=tuple(ranks.tolist()),
            nearest=tuple(map(tuple, nearest.tolist())),
        )

    def _ranked(self, images: Tensor, originals: Tensor, victims: np.ndarray) -> tuple[Tensor, Tensor]:
        """Where each original stands among the candidates, and which of them are nearest to its reconstruction."""
        candidates = self._run.splits.train.pixels[:CANDIDATES]
        return nearest_among(images, originals, candidates, torch.from_numpy(victims), count=NEAREST)

    def _number(self, index: np.ndarray) -> np.ndarray:
        """The number of the victim behind each row of an opaque index."""
        clients, rows = self._truth.rows(index)
        found = np.zeros(len(index), np.int64)
        for client in np.unique(clients):
            own = clients == client
            found[own] = self._numbers[client][rows[own]]
        return found

    def _save(self, record: WallAttack) -> None:
        self._folder.save_attack(record)
        self._attacks[record.attack] = record

    def _emit(self, event: events.Event) -> None:
        self._run.bus.emit(event)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say once that something cannot be written."""
        try:
            yield
        except (UserError, OSError) as error:
            if not self._lost:
                self._lost = True
                self._run.notice(f"{self._cell}: pictures are missing on the wall of images: {error}")


def _told(scores: Tensor) -> tuple[float, ...]:
    """As many digits as anybody looks at."""
    return tuple(round(value, 4) for value in scores.double().tolist())
