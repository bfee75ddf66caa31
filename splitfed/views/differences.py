"""What each defense changes against the undefended cell, with its 95 % interval: as a table, and in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitfed.records.measures import MEASURES
from splitfed.records.summary import by_defense
from splitfed.views import summary
from splitfed.views.text import MISSING, number

if TYPE_CHECKING:
    from splitfed.records.numbers import Interval, Number
    from splitfed.records.results import CellResult, Results

DIGITS = {"accuracy": 3, "psnr_db": 1, "ssim": 3, "reid": 3}
"""What is compared over seeds; a change of a share is no percentage."""
OVER_IMAGES = ("psnr_db", "ssim")
"""What is compared image by image, where there is one seed."""

SEEDS = (
    "Against none: differences under the same seed, [95 % interval of their mean over {seeds} seeds by Student's t]. "
    "An interval without 0 is a difference at the 5 % level."
)
IMAGES = (
    "Against none: differences on the same private images under one seed, strongest attack against strongest attack, "
    "[95 % interval of their mean over images by Student's t for pairs]. An interval without 0 is a difference at the "
    "5 % level, for these two trained networks: it says nothing of other seeds."
)


def table(results: Results) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows; None where there is no undefended cell to compare with."""
    if summary.seed_count(results) > 1:
        return _over_seeds(results)
    compared = [cells[0] for cells in by_defense(results.cells) if cells[0].against_none]
    if not compared:
        return None
    header = ["against none, same images", *(MEASURES[name].label for name in OVER_IMAGES), "images"]
    return header, [_of_cell(cell) for cell in compared]


def reading(results: Results) -> list[str]:
    """What the table says and does not say; nothing where there is none."""
    if table(results) is None:
        return []
    seeds = summary.seed_count(results)
    return [SEEDS.format(seeds=seeds) if seeds > 1 else IMAGES]


def statements(results: Results) -> list[str]:
    """The same in sentences: one for each defense."""
    found = table(results)
    if found is None:
        return []
    header, rows = found
    labels = header[1:-1]
    changes = [", ".join(" ".join(pair) for pair in zip(labels, row[1:-1], strict=True)) for row in rows]
    return [
        f"{row[0]} against none: {change} ({row[-1]} {header[-1]})." for row, change in zip(rows, changes, strict=True)
    ]


def _over_seeds(results: Results) -> tuple[list[str], list[list[str]]] | None:
    changed = summary.differences(results)
    if not changed:
        return None
    header = ["against none, same seed", *(MEASURES[name].label for name in DIGITS), "seeds"]
    rows = [
        [
            label,
            *(_change(measures[name].mean, measures[name].ci95, digits) for name, digits in DIGITS.items()),
            str(measures["accuracy"].n),
        ]
        for label, measures in changed
    ]
    return header, rows


def _of_cell(cell: CellResult) -> list[str]:
    known = [cell.against_none.get(name) for name in OVER_IMAGES]
    changes = [
        _change(found.mean, found.ci95, DIGITS[name]) if found is not None else MISSING
        for name, found in zip(OVER_IMAGES, known, strict=True)
    ]
    images = max((found.n for found in known if found is not None), default=0)
    return [summary.label(cell.defense, cell.params), *changes, f"{images:,}"]


def _change(mean: Number, interval: Interval, digits: int) -> str:
    if mean is None:
        return MISSING
    low, high = interval
    if low is None or high is None:
        return f"{mean:+.{digits}f}"
    return f"{mean:+.{digits}f} [{_signed(low, digits)}, {_signed(high, digits)}]"


def _signed(value: float, digits: int) -> str:
    text = number(value, digits)
    return text if text.startswith("-") else f"+{text}"
