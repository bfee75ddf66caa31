"""Every attack on every defense, side by side: what a defense keeps from one attack it may give to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitfed.records.summary import by_defense, spread
from splitfed.views import summary
from splitfed.views.text import MISSING, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitfed.records.results import AttackScore, CellResult, Results

TITLE = "Every attack on every defense"
READING = (
    "PSNR in dB and SSIM (whole map) over the private images, means over seeds. The strongest, marked where it is so "
    "under most seeds, is chosen on the attacker's own images, so that another may score a little higher here. [n]: "
    "over n of the images only, since the attack is expensive or the tap saw no more; other images score otherwise, "
    "and the entry beside it may be of the same reconstructions. Added nothing: no better than what it starts from, on "
    "the attacker's own images, so that it is no attack of its own. At cap: under some seed a limit ended its "
    'training before it ceased to improve; attacker.effort = "full" lifts it. No entry: the attack does not apply to '
    "such a front. The control retrieval reconstructs nothing: it looks up the attacker's own image that fits best."
)
LOOKED_UP = "retrieval"
"""The control that stands beside the attacks, defense by defense."""


def names(results: Results) -> list[str]:
    """The attacks that were mounted on any cell, in the order in which they first occur; then `LOOKED_UP`."""
    listed = list(dict.fromkeys(name for cell in results.cells for name in cell.attacks))
    return listed + [LOOKED_UP] * any(LOOKED_UP in cell.controls for cell in results.cells)


def rows(results: Results, *, marks: tuple[str, str]) -> list[list[str]]:
    """Per defense its label, then for each of `names` its scores, the strongest between the ``marks``."""
    listed = names(results)
    return [[_label(cells), *(_entry(cells, name, marks) for name in listed)] for cells in by_defense(results.cells)]


def to_markdown(results: Results) -> str:
    """The table as a Markdown section."""
    header = ["defense", *names(results)]
    body = rows(results, marks=("**", "**"))
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *body)]
    return "\n".join([f"## {TITLE}", "", *lines, "", READING, ""])


def _label(cells: Sequence[CellResult]) -> str:
    label = summary.label(cells[0].defense, cells[0].params)
    return label if all(cell.valid for cell in cells) else f"{label} INVALID"


def _entry(cells: Sequence[CellResult], name: str, marks: tuple[str, str]) -> str:
    scores = _of(cells, name)
    if not scores:
        return MISSING
    psnr_db = spread(score.psnr_db for score in scores).mean
    ssim = spread(score.ssim for score in scores).mean
    text = f"{number(psnr_db, 1)} / {number(ssim, 3)}{_fewer(cells, name)}{summary.remarks(scores)}"
    strongest = sum(cell.strongest == name for cell in cells) * 2 > len(cells)
    return f"{marks[0]}{text}{marks[1]}" if strongest else text


def _fewer(cells: Sequence[CellResult], name: str) -> str:
    """How many images the attack was scored on, where more were sent."""
    own = _of(cells, name)
    return summary.fewer(min(score.n for score in own), max(score.sent for score in own))


def _of(cells: Sequence[CellResult], name: str) -> list[AttackScore]:
    """The scores of an attack or control on these cells, where it was mounted."""
    return [found for cell in cells if (found := (cell.attacks | cell.controls).get(name)) is not None]
