"""What a run left, so that two runs of one scenario can be held against each other wherever they took place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitfed.federation.checkpoint import Checkpoint
from splitfed.metrics.fingerprint import fingerprint
from splitfed.records.store import RunStore

TIMINGS = {"train_s", "attack_s"}
"""What two runs of one cell may differ in."""


@dataclass(frozen=True)
class Trained:
    """What the training of one cell came to.

    Attributes:
        weights: fingerprints of front and back, every bit of them.
        history: (training loss, test accuracy) per round.
        measures: of each client's defense.
        missed_rounds: by the client's number.
    """

    weights: tuple[str, str]
    history: list[tuple[float, float]]
    measures: Mapping[int, Mapping[str, Any]]
    missed_rounds: Mapping[int, list[int]]

    @classmethod
    def of(cls, checkpoint: Path) -> Trained:
        """What this checkpoint, written after the last round, holds."""
        kept = Checkpoint.load(checkpoint)
        assert kept is not None, checkpoint
        weights = fingerprint(kept.front), fingerprint(kept.back)
        return cls(weights, kept.history, dict(sorted(kept.measures.items())), kept.missed_rounds)


def trained(store: RunStore) -> dict[str, Trained]:
    """By its name what the training of each cell came to."""
    cells = {store.cell_dir(cell.cell).name: cell.cell for cell in store.results.cells}
    return {name: Trained.of(_checkpoint(store, folder)) for folder, name in cells.items()}


def _checkpoint(store: RunStore, folder: str) -> Path:
    """Where the cell's last round was kept: in the run, or by the server of the federation that was started for it."""
    own = store.checkpoints_dir / f"{folder}.pt"
    if own.is_file():
        return own
    (deployed,) = (store.path / "deployment" / "server").glob(f"*%2F{folder}-{16 * '[0-9a-f]'}.pt")
    return deployed


def measured(store: RunStore) -> dict[str, dict[str, Any]]:
    """By its name all that results.json says of each cell, but for its timings, and what a lab links that has the
    training streams: in a deployment they stay with the attacker."""
    return {
        cell.cell: cell.model_dump(mode="json", exclude=TIMINGS | {"linked_oracle"}) for cell in store.results.cells
    }
