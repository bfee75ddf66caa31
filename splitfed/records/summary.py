"""The same defense under several seeds: means, standard deviations, and differences to the undefended cell."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

from splitfed.records.results import BaselineScore
from splitfed.records.spread import DefenseSummary, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from splitfed.records.numbers import Number
    from splitfed.records.results import CellResult

REFERENCE = "none"
Summed = Literal["accuracy", "psnr_db", "ssim", "reid", "reid_top1", "psnr_excess_db"]
SUMMED: tuple[Summed, ...] = ("accuracy", "psnr_db", "ssim", "reid", "reid_top1", "psnr_excess_db")
"""What is summed up: accuracy, the headline of re-identification, and the scores of the strongest attack of each
cell."""


def by_defense(cells: Iterable[CellResult]) -> list[list[CellResult]]:
    """The cells of each defense with its options, in the order in which these first occur."""
    groups: dict[str, list[CellResult]] = {}
    for cell in cells:
        groups.setdefault(repr((cell.defense, sorted(cell.params.items()))), []).append(cell)
    return list(groups.values())


def summarize(cells: Sequence[CellResult]) -> tuple[DefenseSummary, ...]:
    """One entry per defense with its options: mean and standard deviation over seeds, and the paired differences.

    A difference is the defense's value less that of ``none`` under the same seed, which has the same images, the same
    start and the same order of batches: what the seed does to both cancels.
    """
    references = {cell.seed: cell for cell in cells if cell.defense == REFERENCE}
    return tuple(_summary(group, references) for group in by_defense(cells))


def mean_baselines(by_seed: Sequence[Mapping[str, BaselineScore]]) -> dict[str, BaselineScore]:
    """The mean over seeds of what each predictor scores; none where a seed has none."""
    return {
        name: BaselineScore(
            **{score: _mean_of(getattr(own[name], score) for own in by_seed) for score in BaselineScore.model_fields}
        )
        for name in by_seed[0]
    }


def _mean_of(values: Iterable[Number]) -> Number:
    listed = list(values)
    return None if any(value is None for value in listed) else spread(listed).mean


def spread(values: Iterable[Number]) -> Spread:
    """Mean, sample standard deviation (n - 1; none for a single value) and count of the finite values."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return Spread(mean=fmean(finite) if finite else None, std=stdev(finite) if len(finite) > 1 else None, n=len(finite))


def measured(cell: CellResult, measure: Summed) -> Number:
    """The value of a cell; none where it has no strongest attack."""
    if measure == "accuracy":
        return cell.accuracy
    if measure == "reid":
        return cell.reid_rate
    score = cell.strongest_score
    value: Number = None if score is None else getattr(score, measure)
    return value


def _summary(cells: Sequence[CellResult], references: Mapping[int, CellResult]) -> DefenseSummary:
    first = cells[0]
    pairs = [(cell, references[cell.seed]) for cell in cells if cell.seed in references]
    return DefenseSummary(
        defense=first.defense,
        params=first.params,
        seeds=tuple(cell.seed for cell in cells),
        valid=all(cell.valid for cell in cells),
        over_seeds={measure: spread(measured(cell, measure) for cell in cells) for measure in SUMMED},
        difference_to_none=_differences(pairs) if pairs and first.defense != REFERENCE else {},
    )


def _differences(pairs: Sequence[tuple[CellResult, CellResult]]) -> dict[str, Spread]:
    return {
        measure: spread(_difference(measured(a, measure), measured(b, measure)) for a, b in pairs) for measure in SUMMED
    }


def _difference(value: Number, reference: Number) -> Number:
    return None if value is None or reference is None else value - reference
