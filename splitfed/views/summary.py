"""Results as rows of one table: a row per defense, its seeds taken together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from splitfed.records.student import t_interval
from splitfed.records.summary import by_defense, summarize
from splitfed.views.text import MISSING, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from splitfed.records.numbers import Interval, Number
    from splitfed.records.results import AttackScore, CellResult, Results
    from splitfed.records.spread import Spread

STACK = "stack"
"""The defense whose one option, ``layers``, is a list of defenses with their options."""


class Estimate(NamedTuple):
    """A mean with an interval around it; both None where there is no finite number."""

    mean: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One defense with its options.

    With one seed the intervals are 95 % bootstrap intervals over images; with several they are the mean over
    seeds with its 95 % interval by Student's t. Scores are those of the strongest attack of each cell.
    """

    defense: str
    params: Mapping[str, Any]
    seeds: tuple[int, ...]
    strongest: str
    """By name; with the number of images where it was scored over only some of those that were sent; `SEALED` where
    there was nothing to attack."""
    accuracy: Estimate
    psnr_db: Estimate
    ssim: Estimate
    reid: Estimate
    ideal_reid: Estimate
    """What nobody can exceed; without an estimate where it is not known."""
    psnr_excess_db: Estimate
    psnr_db_p99: Estimate
    fid_lite0: Estimate
    fid: Estimate
    activation_bytes: float | None
    wire_bytes: float | None
    failed_gates: tuple[tuple[str, str, str], ...]
    """Cell, gate and detail of each gate that failed."""
    valid: bool

    @property
    def label(self) -> str:
        """The defense and its options: "sca (l1_weight 0.5)"."""
        return label(self.defense, self.params)


class PlainRow(NamedTuple):
    """A predictor without training, to compare the attacks with."""

    label: str
    psnr_db: float | None
    ssim: float | None


def label(defense: str, params: Mapping[str, Any]) -> str:
    """A defense and its options in words; a stack by its layers.

    >>> label("sca", {"l1_weight": 0.5}), label("none", {})
    ('sca (l1_weight 0.5)', 'none')
    >>> label("stack", {"layers": [{"name": "sca", "l1_weight": 0.5}, {"name": "laplace"}]})
    'sca (l1_weight 0.5) + laplace'
    """
    if defense == STACK:
        return " + ".join(label(layer["name"], _without_name(layer)) for layer in params["layers"])
    options = ", ".join(f"{name} {value}" for name, value in params.items())
    return f"{defense} ({options})" if options else defense


def _without_name(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {option: value for option, value in layer.items() if option != "name"}


SEALED = "sealed"
"""Stands where the strongest attack would, had the attacker seen anything but ciphertext."""


def _strongest(cell: CellResult) -> str:
    if cell.sealed:
        return SEALED
    score = cell.strongest_score
    if score is None:
        return MISSING
    return f"{cell.strongest}{fewer(score.n, score.sent)}{remarks([score])}"


def remarks(scores: Sequence[AttackScore]) -> str:
    """What has to be said of an attack beside its scores: on all cells that it added nothing, on any that it ended at
    its cap."""
    idle = " added nothing" if all(score.added_nothing for score in scores) else ""
    return idle + (f" {AT_CAP}" if any(score.at_cap for score in scores) else "")


AT_CAP = "at cap"
"""Stands beside an attack that was still improving when it reached its limit."""


def fewer(scored: int, sent: int) -> str:
    """The mark of scores over only some of the images that were sent.

    >>> fewer(320, 6000), fewer(6000, 6000)
    (' [320]', '')
    """
    return f" [{scored:,}]" if scored < sent else ""


def why_not_completed(cell: CellResult) -> str:
    """Why a cell has no scores because it could not be trained; empty for any other."""
    return "" if cell.gates.get("completed", True) else cell.gate_details["completed"]


def rows(results: Results) -> list[Row]:
    """One row per defense with its options, in the order of the results."""
    return [_row(group) for group in by_defense(results.cells)]


def differences(results: Results) -> list[tuple[str, Mapping[str, Spread]]]:
    """With several seeds: each defense and what it changes against ``none`` under the same seed, by measure."""
    if seed_count(results) < 2:
        return []
    found = ((label(s.defense, s.params), s.difference_to_none) for s in summarize(results.cells))
    return [(title, measures) for title, measures in found if measures]


def frontier(results: Results) -> list[Row]:
    """The valid rows that no other valid row beats in both, by falling SSIM: at least as accurate, and leaking less.

    Accuracy up and the strongest attack's SSIM down is better for the defender; of equals, all are on the frontier.
    """
    scored = [(row, row.accuracy.mean, row.ssim.mean) for row in rows(results) if row.valid]
    known = [(row, accuracy, ssim) for row, accuracy, ssim in scored if accuracy is not None and ssim is not None]
    best = [
        (row, ssim)
        for row, accuracy, ssim in known
        if not any(a >= accuracy and s <= ssim and (a, s) != (accuracy, ssim) for _, a, s in known)
    ]
    return [row for row, _ in sorted(best, key=lambda pair: -pair[1])]


def plain_rows(results: Results) -> list[PlainRow]:
    """The baselines, then each untrained control where it came closest (highest SSIM) over cells."""
    baselines = [PlainRow(name.replace("_", " "), s.psnr_db, s.ssim) for name, s in results.baselines.items()]
    controls: dict[str, AttackScore] = {}
    for cell in results.cells:
        for name, score in cell.controls.items():
            if name not in controls or (score.ssim or -1) > (controls[name].ssim or -1):
                controls[name] = score
    return baselines + [PlainRow(f"{name} attack", s.psnr_db, s.ssim) for name, s in controls.items()]


def majority_rate(results: Results) -> float | None:
    """The accuracy of always naming the most frequent class."""
    return _mean(cell.majority_rate for cell in results.cells)


def reid_chance(results: Results) -> float | None:
    """The re-identification rate of guessing."""
    scores = (cell.strongest_score for cell in results.cells)
    return _mean(score.reid_chance for score in scores if score)


def guessed(results: Results) -> str:
    """The same in words, and by guessing among those of the same class where that was measured."""
    in_class = _mean(cell.reid_chance_in_class for cell in results.cells)
    return percent(reid_chance(results)) + ("" if in_class is None else f", within the class {percent(in_class)}")


def images_scored(results: Results, metric: str) -> int | None:
    """Images per set that this metric was asked to compare, the fewest of any cell; None where it was not asked."""
    if metric not in results.metrics:
        return None
    scores = [score for cell in results.cells if (score := cell.strongest_score)]
    return min((score.n for score in scores), default=None)


def any_sealed(results: Results) -> bool:
    """Whether the attacker of a cell saw nothing but ciphertext."""
    return any(cell.sealed for cell in results.cells)


def seed_count(results: Results) -> int:
    """The largest number of seeds of a defense."""
    return max((len(row.seeds) for row in rows(results)), default=0)


def _row(cells: Sequence[CellResult]) -> Row:
    def estimate(
        read: Callable[[AttackScore], Number], interval: Callable[[AttackScore], Interval] | None = None
    ) -> Estimate:
        scores = [score for cell in cells if (score := cell.strongest_score)]
        return _estimate([read(s) for s in scores], [interval(s) if interval else None for s in scores])

    first = cells[0]
    return Row(
        defense=first.defense,
        params=first.params,
        seeds=tuple(cell.seed for cell in cells),
        strongest="/".join(dict.fromkeys(_strongest(cell) for cell in cells)),
        accuracy=_estimate([cell.accuracy for cell in cells], [None] * len(cells)),
        psnr_db=estimate(lambda s: s.psnr_db, lambda s: s.psnr_db_ci95),
        ssim=estimate(lambda s: s.ssim, lambda s: s.ssim_ci95),
        reid=_estimate([cell.reid_rate for cell in cells], [None] * len(cells)),
        ideal_reid=_estimate([_ideal_reid(cell) for cell in cells], [None] * len(cells)),
        psnr_excess_db=estimate(lambda s: s.psnr_excess_db),
        psnr_db_p99=estimate(lambda s: s.psnr_db_p99),
        fid_lite0=estimate(lambda s: s.fid_lite0),
        fid=estimate(lambda s: s.fid),
        activation_bytes=_mean(cell.activation_bytes_per_image for cell in cells),
        wire_bytes=_mean(cell.wire_bytes_per_image for cell in cells),
        failed_gates=tuple(failure for cell in cells for failure in failed_gates(cell)),
        valid=all(cell.valid for cell in cells),
    )


def _ideal_reid(cell: CellResult) -> Number:
    """What nobody can exceed; None where training told more, which it says nothing of."""
    return cell.ideal.top1 if cell.ideal is not None and cell.reid == cell.audited_reid else None


def failed_gates(cell: CellResult) -> list[tuple[str, str, str]]:
    """Cell, gate and detail of each gate that this cell failed."""
    details = cell.gate_details
    return [(cell.cell, gate, details.get(gate, "")) for gate, ok in cell.gates.items() if not ok]


def _estimate(values: Sequence[Number], intervals: Sequence[Interval | None]) -> Estimate:
    if any(value is None or not math.isfinite(value) for value in values) or not values:
        return Estimate(None)
    finite = [value for value in values if value is not None]
    mean = fmean(finite)
    if len(finite) > 1:
        return Estimate(mean, *(t_interval(finite) or (None, None)))
    interval = intervals[0]
    return Estimate(mean, *interval) if interval else Estimate(mean)


def _mean(values: Iterable[Number]) -> float | None:
    finite = [value for value in values if value is not None]
    return fmean(finite) if finite else None
