"""Image grids of a run: what each attack made of the same private images, chosen by position and never by looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from splitfed.metrics.quality import psnr_db
from splitfed.store import RunStore, file_name
from splitfed.truth import Truth, load_reconstruction
from splitfed.verdict import AttackOutcome
from splitfed.views.grid import save_cell_grid, save_comparison

COMPARED_IMAGES = 8


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


def save_cells_compared(store: RunStore, truth: Truth, entries: Sequence[Mapping[str, Any]]) -> None:
    """The same private images, and below them what the strongest attack on each of these cells made of them."""
    rows: dict[str, np.ndarray] = {}
    index: np.ndarray | None = None
    for entry in entries:
        if entry["strongest"] is None:
            continue
        made = load_reconstruction(store.cell_dir(entry["cell"]) / "attack" / f"{entry['strongest']}.npz")
        first = made.index[:COMPARED_IMAGES]
        index = first if index is None else index
        if np.array_equal(first, index):  # a tap that missed images shows others; they would not be comparable
            rows[f"{entry['cell']}, {entry['strongest']}"] = made.images[:COMPARED_IMAGES].numpy()
    if index is not None:
        originals = truth.behind(index).pixels.numpy()
        save_comparison(store.images_dir / "comparison.png", originals, rows, first=COMPARED_IMAGES)
