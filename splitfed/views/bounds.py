"""What our attacks got beside what nobody can exceed: between the two lies what leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitfed.records.ideal import psnr_of
from splitfed.records.measures import MEASURES
from splitfed.records.summary import by_defense, spread
from splitfed.views import summary
from splitfed.views.text import MISSING, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from splitfed.records.numbers import Number
    from splitfed.records.results import CellResult, Results

TITLE = "What nobody can exceed"
READING = (
    "Of what is sent under the final front: the leak lies between what our attacks got and what the ideal attacker "
    "gets, who knows the pool's images, the front, the law of the noise, and the labels where they travel in clear; "
    "of k images that nothing tells apart it finds one. The ideal is a mean over draws of the noise; ours is of one "
    "draw, and may be above it by luck: the gate below_ideal says how far. PSNR here is that of the mean squared "
    "error over the pool, of which no attack can have less, and not the mean of PSNRs above; ours is that of the "
    "attack with the least. Bits: what an activation, with its label in clear, tells of which image of the pool it "
    "is, and a bound for all images of such means and covariances; what follows for re-identification from the bits "
    "alone. A front that draws nothing tells all images apart whose activations differ, exactly. No entry: the "
    "defense draws its noise by no known law."
)
EXACT = "exact"
"""A reconstruction without any error."""
HEADER = ("defense", "noise", "re-id ours / ideal", "PSNR dB ours / ideal", "bits told ≤ bound", "re-id ≤ by bits")


def rows(results: Results) -> list[list[str]]:
    """Per defense its label and the cells of `HEADER`, means over seeds; empty where nothing of it is known."""
    if all(cell.ideal is None for cell in results.cells):
        return []
    return [_row(cells) for cells in by_defense(results.cells)]


def to_markdown(results: Results) -> str:
    """The table as a Markdown section; empty where there is none."""
    body = rows(results)
    if not body:
        return ""
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEADER, ["---"] * len(HEADER), *body)]
    return "\n".join([f"## {TITLE}", "", *lines, "", READING, ""])


def _row(cells: Sequence[CellResult]) -> list[str]:
    label = summary.label(cells[0].defense, cells[0].params)
    ideals = [cell.ideal for cell in cells if cell.ideal is not None]
    if not ideals:
        return [label, *[MISSING] * (len(HEADER) - 1)]
    mse = _mean(ideal.mse for ideal in ideals)
    own = _mean(
        min((s.pool_mse for s in cell.attacks.values() if s.pool_mse is not None), default=None) for cell in cells
    )
    return [
        label,
        "/".join(dict.fromkeys(ideal.channel for ideal in ideals)),
        f"{percent(_mean(cell.audited_reid for cell in cells))} / {percent(_mean(ideal.top1 for ideal in ideals))}",
        f"{_decibels(own)} / {_decibels(mse)}",
        f"{number(_mean(ideal.information_bits for ideal in ideals), MEASURES['information_bits'].digits)} ≤ "
        f"{number(_mean(i.information_bound_bits for i in ideals), MEASURES['information_bound_bits'].digits)}",
        percent(_mean(ideal.fano_top1 for ideal in ideals)),
    ]


def _decibels(mse: Number) -> str:
    return EXACT if mse == 0 else number(psnr_of(mse), MEASURES["psnr_db"].digits)


def _mean(values: Iterable[Number]) -> Number:
    return spread(values).mean
