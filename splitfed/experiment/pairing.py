"""The same private images under a defense and without one: what each attack made of them, score by score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from splitfed.errors import AttackError
from splitfed.experiment.context import CellContext, RunContext
from splitfed.files import file_name
from splitfed.metrics.per_image import METRICS
from splitfed.records.paired import PairedDifference, paired_difference
from splitfed.records.reconstructions import read_reconstruction
from splitfed.records.results import CellResult

COMPARED = ("psnr_db", "ssim")
"""The scores that are compared."""


@dataclass(frozen=True)
class ImageScores:
    """What the strongest attack on a cell made of each private image.

    Attributes:
        attack: its name.
        images: client and row of each image.
        values: by score, in that order.
    """

    attack: str
    images: Sequence[tuple[int, int]]
    values: Mapping[str, Tensor]

    def of(self, images: Sequence[tuple[int, int]], score: str) -> list[float]:
        """The scores of these images, which are all there; of one that was sent several times their mean."""
        found: dict[tuple[int, int], list[float]] = {}
        for image, value in zip(self.images, self.values[score].tolist(), strict=True):
            found.setdefault(image, []).append(value)
        return [fmean(found[image]) for image in images]


class Pairing:
    """Compares cells of one seed with the undefended one, by what is kept of their strongest attacks."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._known: dict[str, ImageScores | None] = {}

    def difference(self, cell: CellResult, reference: CellResult) -> dict[str, PairedDifference]:
        """By score, over the images that the strongest attacks on both reconstructed; empty where there are none."""
        own, other = self._scores(cell), self._scores(reference)
        if own is None or other is None:
            return {}
        both = sorted(set(own.images) & set(other.images))
        names = (own.attack, other.attack)
        found = {name: paired_difference(own.of(both, name), other.of(both, name), attacks=names) for name in COMPARED}
        return {name: difference for name, difference in found.items() if difference is not None}

    def _scores(self, cell: CellResult) -> ImageScores | None:
        if cell.cell not in self._known:
            self._known[cell.cell] = self._read(cell)
        return self._known[cell.cell]

    def _read(self, cell: CellResult) -> ImageScores | None:
        """From the file that a finished cell keeps; None where it has none, or one that cannot be read."""
        if cell.strongest is None:
            return None
        known = next(each for each in self._run.scenario.cells() if each.name == cell.cell)
        truth = CellContext.of(self._run, known).truth
        folder, name = self._run.store.cell_dir(cell.cell), f"{file_name(cell.strongest)}.npz"
        try:
            made = read_reconstruction(folder, name, truth.job.shape)
            own = truth.private(made.index)  # what a defense generated in training is nobody's
            index, images = made.index[own], made.images[torch.from_numpy(own)]
            clients, rows = truth.rows(index)
            originals = truth.originals(index).pixels
        except (AttackError, IndexError) as error:
            self._run.notice(f"{cell.cell} is not compared image by image: {error}")
            return None
        values = {name: METRICS[name].of_images(images, originals) for name in COMPARED}
        return ImageScores(cell.strongest, _pairs(clients, rows), values)


def _pairs(clients: np.ndarray, rows: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(clients.tolist(), rows.tolist(), strict=True))
