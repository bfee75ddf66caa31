"""What is drawn of a run, as plain numbers: accuracy against leakage, and how both came about.

The modules in `static` draw them, on the page as in the report. Numbers that are not finite are left out here, for JSON
has none.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from splitfed.records.summary import by_defense, measured
from splitfed.views import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from splitfed.records.results import Results
    from splitfed.views.progress import CellState, Point, RunState

MOST_POINTS = 400
"""Points of one curve; longer ones are thinned, for nobody sees more."""


@dataclass(frozen=True)
class Mark:
    """A point; ``low`` and ``high`` are the ends of its interval along x, if it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A named curve, or a single point; one that does not ``count`` is drawn hollow."""

    label: str
    points: tuple[Mark, ...]
    counts: bool = True


@dataclass(frozen=True)
class Rule:
    """A labeled line across the figure at one value, for comparison."""

    label: str
    value: float


@dataclass(frozen=True)
class Figure:
    """Curves over x (``lines``, rules lie across y), or points in a plane (``points``, rules stand on x).

    ``frontier`` are the points that no other beats, joined by steps.
    """

    kind: Literal["lines", "points"]
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()
    frontier: tuple[Mark, ...] = ()
    note: str = ""
    """How to read it, where its title does not say so."""

    @property
    def numbers(self) -> list[tuple[str, float, float]]:
        """Series, x and y of what is drawn: of a curve its last point, for whoever sees no drawing."""
        return [(one.label, one.points[-1].x, one.points[-1].y) for one in self.series]

    def to_json(self) -> dict[str, Any]:
        """As the modules take it."""
        return asdict(self)


def of_results(results: Results) -> list[Figure]:
    """What the finished cells show; without what there is nothing of."""
    return _drawn([_tradeoff(results), _sweep(results), _over_seeds(results)])


def of_run(results: Results, run: RunState) -> list[Figure]:
    """The same, and how it came about."""
    return of_results(results) + _drawn(
        [_psnr_over_time(results, run), _leak_over_work(results, run), _accuracy_over_rounds(run)]
    )


def _drawn(figures: Iterable[Figure]) -> list[Figure]:
    return [figure for figure in figures if figure.series]


def _series(named: Iterable[tuple[str, Iterable[Mark], bool]]) -> tuple[Series, ...]:
    """Those that have a finite point, thinned."""
    finite = (
        (label, [mark for mark in marks if math.isfinite(mark.x) and math.isfinite(mark.y)], counts)
        for label, marks, counts in named
    )
    return tuple(Series(label, _thinned(marks), counts) for label, marks, counts in finite if marks)


def _thinned(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """At most `MOST_POINTS` of them at even distances, the last among them."""
    step = math.ceil(len(marks) / MOST_POINTS)
    return tuple(marks[::-1][::step][::-1])


def _tradeoff(results: Results) -> Figure:
    best = summary.frontier(results)
    on_frontier = {row.label for row in best}
    known = [row for row in summary.rows(results) if row.ssim.mean is not None and row.accuracy.mean is not None]
    return Figure(
        "points",
        "Accuracy against the SSIM of the strongest attack",
        "SSIM (whole map) of the strongest attack",
        "test accuracy",
        _series((_label(row, on_frontier), [_mark(row)], row.valid) for row in known),
        _rules(results, "ssim"),
        tuple(_mark(row) for row in best),
        "Up and left is better for the defender. ★ on the Pareto frontier: no other defense here is as accurate and "
        "leaks less. Bars: 95 % of bootstrapped means over images, or Student's interval over seeds.",
    )


def _label(row: summary.Row, on_frontier: set[str]) -> str:
    if not row.valid:
        return f"{row.label} INVALID"
    return f"{row.label} ★" if row.label in on_frontier else row.label


def _mark(row: summary.Row) -> Mark:
    return Mark(row.ssim.mean or 0.0, row.accuracy.mean or 0.0, row.ssim.low, row.ssim.high)


def _sweep(results: Results) -> Figure:
    """Accuracy and SSIM over λ, where a run has several of them."""
    swept = _swept(results)
    accuracy = [Mark(l1_weight, row.accuracy.mean) for l1_weight, row in swept if row.accuracy.mean is not None]
    ssim = [Mark(l1_weight, row.ssim.mean) for l1_weight, row in swept if row.ssim.mean is not None]
    lines = (("accuracy", accuracy, True), ("SSIM of the strongest attack", ssim, True))
    title = "The sparse coding architecture over its λ"
    return Figure("lines", title, "λ", "accuracy, SSIM", _series(lines if len(swept) > 1 else ()))


def _swept(results: Results) -> list[tuple[float, summary.Row]]:
    rows = (row for row in summary.rows(results) if row.defense == "sca" and row.valid)
    known = [(float(row.params["l1_weight"]), row) for row in rows if "l1_weight" in row.params]
    return sorted(known, key=lambda pair: pair[0])


def _over_seeds(results: Results) -> Figure:
    """The strongest attack's SSIM under each seed: how far a single run could mislead."""
    groups = by_defense(cell for cell in results.cells if cell.valid) if summary.seed_count(results) > 1 else []
    curves = (
        (
            summary.label(cells[0].defense, cells[0].params),
            [Mark(cell.seed, ssim) for cell in cells if (ssim := measured(cell, "ssim")) is not None],
            True,
        )
        for cells in groups
    )
    title = "SSIM of the strongest attack under each seed"
    return Figure("lines", title, "seed", "SSIM (whole map)", _series(curves), _rules(results, "ssim"))


def _psnr_over_time(results: Results, run: RunState) -> Figure:
    strongest = {cell.cell: cell.strongest for cell in results.cells}
    cells, which = _charted(run)
    curves = (
        (name, _over_time(progress.psnr_db), True)
        for name, cell in cells.items()
        for attack, progress in cell.attacks.items()
        if attack == strongest.get(name)
    )
    title = f"PSNR of each cell's strongest attack over time{which}"
    x, y = "seconds since the cell started", "attacker's PSNR, dB"
    return Figure("lines", title, x, y, _series(curves), _rules(results, "psnr_db"))


def _leak_over_work(results: Results, run: RunState) -> Figure:
    """What more of the attacker's work would bring: flat where it has brought all."""
    cells, which = _charted(run)
    curves = ((name, _best_so_far(cell), True) for name, cell in cells.items())
    title = f"Best SSIM so far against the attacker's time after training{which}"
    x, y = "seconds since training was over", "SSIM of the images that are shown"
    note = (
        "Over all attacks, one after the other, on the few private images that are shown while they work. A curve that "
        'still rises at its end says that a longer attack would see more (attacker.effort = "full").'
    )
    return Figure("lines", title, x, y, _series(curves), _rules(results, "ssim"), note=note)


def _best_so_far(cell: CellState) -> list[Mark]:
    points = sorted(point for attack in cell.attacks.values() for point in attack.ssim_after_training)
    best = accumulate((point.value for point in points), max)
    return [Mark(point.at_s, value) for point, value in zip(points, best, strict=True)]


def _over_time(points: Sequence[Point]) -> list[Mark]:
    return [Mark(point.at_s, point.value) for point in points]


def _accuracy_over_rounds(run: RunState) -> Figure:
    cells, which = _charted(run)
    curves = ((name, [Mark(done.round, done.accuracy) for done in cell.rounds], True) for name, cell in cells.items())
    title = f"Test accuracy of each cell after each round{which}"
    return Figure("lines", title, "round", "test accuracy", _series(curves))


def _charted(run: RunState) -> tuple[dict[str, CellState], str]:
    """The cells whose curves are drawn, and which these are: with several seeds the first, so that they can be read."""
    seeds = sorted({cell.started.seed for cell in run.cells.values()})
    shown = {name: cell for name, cell in run.cells.items() if cell.started.seed == seeds[0]}
    return shown, f" (seed {seeds[0]} of {len(seeds)} seeds)" if len(seeds) > 1 else ""


def _rules(results: Results, metric: str) -> tuple[Rule, ...]:
    known = {name: getattr(score, metric) for name, score in results.baselines.items()}
    return tuple(Rule(name.replace("_", " "), value) for name, value in known.items() if isinstance(value, float))
