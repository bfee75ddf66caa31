"""Image grids of a run: what each attack made of the same private images.

They are chosen by a fixed rule, by position or by PSNR, never by looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from splitfed.errors import AttackError
from splitfed.experiment.attack_outcome import AttackOutcome
from splitfed.experiment.truth import Truth
from splitfed.files import file_name
from splitfed.metrics.quality import psnr_db
from splitfed.records.grids import save_cell_grid, save_comparison, save_extremes
from splitfed.records.reconstructions import read_reconstruction
from splitfed.records.results import CellResult
from splitfed.records.store import RunStore
from splitfed.types import Reconstruction

COMPARED_IMAGES = 8
REFERENCE = "none"


def save_outcome(store: RunStore, cell: str, strongest: str | None, outcomes: Sequence[AttackOutcome]) -> None:
    """The grid of one cell: originals above what its strongest attack made of them."""
    for outcome in outcomes:
        if outcome.report.attack == strongest:
            save_cell_grid(
                store.images_dir / f"{file_name(cell)}.png",
                outcome.truth.pixels.numpy(),
                outcome.reconstruction.images.numpy(),
                psnr_db(outcome.reconstruction.images, outcome.truth.pixels).numpy(),
                cell=cell,
                attack=outcome.report.attack,
            )


Made = Sequence[tuple[CellResult, Reconstruction]]
"""Cells, and what the strongest attack on each made of the private images."""


def save_cells_compared(
    store: RunStore, truth_of: Callable[[str], Truth], cells: Sequence[CellResult], notice: Callable[[str], None]
) -> None:
    """The same private images, and below them what the strongest attack on each of these cells made of them.

    A cell whose reconstructions cannot be read is left out, of which `notice` is told.

    Args:
        store: the run's directory.
        truth_of: the truth of a cell, by its name; all of them audit the same images in the same order.
        cells: of one seed.
        notice: gets a sentence for the user.
    """
    if not cells:
        return
    attacked = _made(store, truth_of, cells, notice)
    truth = truth_of(cells[0].cell)
    rows: dict[str, np.ndarray] = {}
    index: np.ndarray | None = None
    for cell, made in attacked:
        first = made.index[:COMPARED_IMAGES]
        index = first if index is None else index
        if np.array_equal(first, index):  # a tap that missed images shows others; they would not be comparable
            rows[f"{cell.cell}, {cell.strongest}"] = made.images[:COMPARED_IMAGES].numpy()
    if index is not None:
        originals = truth.originals(index).pixels.numpy()
        save_comparison(store.images_dir / "comparison.png", originals, rows, first=COMPARED_IMAGES)
    save_extremes_compared(store, truth, attacked)


def save_extremes_compared(store: RunStore, truth: Truth, attacked: Made) -> None:
    """The private images that leak most, middling and least without a defense, and what each cell made of these.

    In the manner of figures 3 and 4 of arXiv 2403.14772. Nothing is drawn without an undefended cell.
    """
    bare = next((made for cell, made in attacked if cell.defense == REFERENCE), None)
    if bare is None:
        return
    originals = truth.originals(bare.index).pixels
    scores = psnr_db(bare.images, originals).numpy()
    ranked = np.argsort(-scores, kind="stable")
    chosen = ranked[[0, (len(ranked) - 1) // 2, -1]]
    rows = {
        f"{cell.cell}, {cell.strongest}": shown
        for cell, made in attacked
        if (shown := _of(made, bare.index[chosen])) is not None
    }
    save_extremes(store.images_dir / "extremes.png", originals[chosen].numpy(), rows, scores[chosen])


def _made(
    store: RunStore, truth_of: Callable[[str], Truth], cells: Sequence[CellResult], notice: Callable[[str], None]
) -> Made:
    found = []
    for cell in cells:
        if cell.strongest is None:
            continue
        file = f"{file_name(cell.strongest)}.npz"
        try:
            truth = truth_of(cell.cell)
            made = read_reconstruction(store.cell_dir(cell.cell), file, truth.job.shape)
            found.append((cell, _as_audited(truth, made)))
        except AttackError as error:
            notice(f"{cell.cell} is left out of the pictures that compare cells: {error}")
    return found


def _as_audited(truth: Truth, made: Reconstruction) -> Reconstruction:
    """What was made of the first observation of each private image, under the index by which it is audited."""
    own = truth.private(made.index)
    index = truth.audited(made.index[own])
    index, first = np.unique(index, axis=0, return_index=True)
    return Reconstruction(index, made.images[torch.from_numpy(np.flatnonzero(own)[first])])


def _of(made: Reconstruction, wanted: np.ndarray) -> np.ndarray | None:
    """The images behind these rows of the opaque index; None where the tap missed one of them."""
    places = {tuple(row): place for place, row in enumerate(made.index.tolist())}
    found = [places.get(tuple(row)) for row in wanted.tolist()]
    known = [place for place in found if place is not None]
    return made.images[known].numpy() if len(known) == len(found) else None
