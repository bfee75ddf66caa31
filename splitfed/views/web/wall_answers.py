"""What the page is told of the wall: which pictures there are, and all that is known of one victim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from splitfed.files import file_name
from splitfed.records.sheets import TILES_PER_SHEET
from splitfed.records.wall import FOLDER, WallActivations, WallAttack, WallFolder

if TYPE_CHECKING:
    from splitfed.records.store import RunStore
    from splitfed.records.wall import Victims, WallFinal

BINS = 32
DIGITS = 5
"""Significant digits of an activation: a heat map shows no more."""


def wall(store: RunStore, cell: str | None = None) -> dict[str, Any]:
    """All pictures of a run, or those of one cell, as `docs/runs.md` has it."""
    folder = WallFolder(store.path)
    victims = folder.victims()
    cells: dict[str, dict[str, Any]] = {}
    for attack in folder.attacks():
        if cell in (None, attack.cell):
            cells.setdefault(attack.cell, {})[attack.attack] = _pictures(attack)
    return {"victims": None if victims is None else victims.model_dump(by_alias=True), "cells": cells}


def final(store: RunStore, cell: str, attack: str) -> dict[str, Any] | None:
    """What an attack came to, with the scores of each image; None while it has not.

    `wall` leaves that out, for all attacks together are more than a page looks at.
    """
    found = WallFolder(store.path).attack(cell, attack)
    if found is None or found.final is None:
        return None
    return {"folder": _path(cell), **found.final.model_dump()}


def victim(store: RunStore, number: int) -> dict[str, Any] | None:
    """One victim: the original where the lab has it, and what every attack on every cell makes of it.

    None where no picture is of it.
    """
    folder = WallFolder(store.path)
    victims = folder.victims()
    original = None if victims is None else _original(victims, number)
    cells: dict[str, dict[str, Any]] = {}
    for attack in folder.attacks():
        told = cells.setdefault(attack.cell, {"attacks": {}, "activation": None})
        told["attacks"][attack.attack] = _of_one(attack.final, number)
    for cell, told in cells.items():
        told["folder"] = _path(cell)
        told["attacks"] = {name: scores for name, scores in told["attacks"].items() if scores is not None}
        told["activation"] = _activation(folder.activations(cell), number)
    if original is None and not any(told["attacks"] for told in cells.values()):
        return None
    return {"number": number, "original": original, "cells": cells}


def _path(cell: str) -> str:
    """The folder of a cell's sheets, below the run."""
    return f"{FOLDER}/{file_name(cell)}"


def _pictures(attack: WallAttack) -> dict[str, Any]:
    return {
        "folder": _path(attack.cell),
        "is_control": attack.is_control,
        "moments": [moment.model_dump() for moment in attack.moments],
        "final": None if attack.final is None else {"count": len(attack.final.victims), "of": attack.final.of},
    }


def _original(victims: Victims, number: int) -> dict[str, Any] | None:
    if not 0 <= number < victims.count:
        return None
    return {
        "folder": FOLDER,
        "sheet": victims.sheets[number // victims.tiles_per_sheet] if victims.sheets else None,
        "tile": number % victims.tiles_per_sheet,
        "label": victims.label[number],
        "class": victims.classes[victims.label[number]],
        "client": {seed: clients[number] for seed, clients in victims.client.items()},
    }


def _of_one(final: WallFinal | None, number: int) -> dict[str, Any] | None:
    if final is None or number not in final.victims:
        return None
    place = final.victims.index(number)
    return {
        "sheet": final.sheets[place // TILES_PER_SHEET],
        "tile": place % TILES_PER_SHEET,
        "psnr_db": final.psnr_db[place] if final.psnr_db else None,
        "ssim": final.ssim[place] if final.ssim else None,
        "reid_rank": final.reid_rank[place] if final.reid_rank else None,
        "nearest": final.nearest[place] if final.nearest else (),
    }


def _activation(found: WallActivations | None, number: int) -> dict[str, Any] | None:
    if found is None or not len(places := np.flatnonzero(found.victims == number)):
        return None
    values = np.nan_to_num(found.values[places[0]].astype(np.float64))
    counts, edges = np.histogram(values, bins=BINS)
    return {
        "shape": list(values.shape),
        "values": [_rounded(value) for value in values.ravel()],
        "histogram": {"counts": counts.tolist(), "edges": [_rounded(edge) for edge in edges]},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
