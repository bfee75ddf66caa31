"""The charts of the page: accuracy against leakage, and how both came about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from splitfed.records.summary import by_defense, measured
from splitfed.views import summary
from splitfed.views.report.plot import Mark, Rule, Series, line_chart, scatter_chart

if TYPE_CHECKING:
    from splitfed.records.results import Results
    from splitfed.views.progress import CellState, RunState


def charts(results: Results, run: RunState) -> list[Markup]:
    """All that can be drawn of this run as SVG in figures, in their order."""
    drawn = [
        _tradeoff(results),
        _sweep(results),
        _over_seeds(results),
        _psnr_over_time(results, run),
        _accuracy_over_rounds(run),
    ]
    return [Markup(chart) for chart in drawn if chart]


def _tradeoff(results: Results) -> str:
    best = summary.frontier(results)
    on_frontier = {row.label for row in best}
    series = [
        Series(
            f"{row.label} ★" if row.label in on_frontier else row.label if row.valid else f"{row.label} INVALID",
            [Mark(row.ssim.mean, row.accuracy.mean, row.ssim.low, row.ssim.high)],
            hollow=not row.valid,
        )
        for row in summary.rows(results)
        if row.ssim.mean is not None and row.accuracy.mean is not None
    ]
    return scatter_chart(
        "Accuracy against the SSIM of the strongest attack: up and left is better for the defender. "
        "★ on the Pareto frontier: no other defense here is as accurate and leaks less",
        series,
        x_label="SSIM (whole map) of the strongest attack (left is better for the defender)",
        y_label="test accuracy",
        rules=_rules(results, "ssim"),
        frontier=[Mark(row.ssim.mean or 0.0, row.accuracy.mean or 0.0) for row in best],
    )


def _sweep(results: Results) -> str:
    """Accuracy and SSIM over λ, where a run has several of them."""
    swept = _swept(results)
    if len(swept) < 2:
        return ""
    lines = {
        "accuracy": [Mark(l1_weight, row.accuracy.mean) for l1_weight, row in swept if row.accuracy.mean is not None],
        "SSIM of the strongest attack": [Mark(s, row.ssim.mean) for s, row in swept if row.ssim.mean is not None],
    }
    return line_chart(
        "The sparse coding architecture over its λ",
        [Series(label, marks) for label, marks in lines.items()],
        x_label="λ",
        y_label="accuracy, SSIM",
    )


def _swept(results: Results) -> list[tuple[float, summary.Row]]:
    rows = (row for row in summary.rows(results) if row.defense == "sca" and row.valid)
    known = [(float(row.params["l1_weight"]), row) for row in rows if "l1_weight" in row.params]
    return sorted(known, key=lambda pair: pair[0])


def _over_seeds(results: Results) -> str:
    """The strongest attack's SSIM under each seed: how far a single run could mislead."""
    if summary.seed_count(results) < 2:
        return ""
    groups = by_defense(cell for cell in results.cells if cell.valid)
    series = [
        Series(
            summary.label(cells[0].defense, cells[0].params),
            [Mark(cell.seed, ssim) for cell in cells if (ssim := measured(cell, "ssim")) is not None],
        )
        for cells in groups
    ]
    return line_chart(
        "SSIM of the strongest attack under each seed",
        series,
        x_label="seed",
        y_label="SSIM (whole map) of the strongest attack",
        rules=_rules(results, "ssim"),
    )


def _psnr_over_time(results: Results, run: RunState) -> str:
    strongest = {cell.cell: cell.strongest for cell in results.cells}
    cells, which = _charted(run)
    series = [
        Series(name, [Mark(point.at_s, point.value) for point in progress.psnr_db])
        for name, cell in cells.items()
        for attack, progress in cell.attacks.items()
        if attack == strongest.get(name)
    ]
    return line_chart(
        f"PSNR of each cell's strongest attack over time{which}",
        series,
        x_label="seconds since the cell started",
        y_label="attacker's PSNR, dB",
        rules=_rules(results, "psnr_db"),
    )


def _accuracy_over_rounds(run: RunState) -> str:
    cells, which = _charted(run)
    return line_chart(
        f"Test accuracy of each cell after each round{which}",
        [Series(name, _round_marks(cell)) for name, cell in cells.items()],
        x_label="round",
        y_label="test accuracy",
    )


def _charted(run: RunState) -> tuple[dict[str, CellState], str]:
    """The cells whose curves are drawn, and which these are: with several seeds the first, so that they can be read."""
    seeds = sorted({cell.started.seed for cell in run.cells.values()})
    shown = {name: cell for name, cell in run.cells.items() if cell.started.seed == seeds[0]}
    return shown, f" (seed {seeds[0]} of {len(seeds)} seeds)" if len(seeds) > 1 else ""


def _round_marks(cell: CellState) -> list[Mark]:
    return [Mark(done.round, done.accuracy) for done in cell.rounds]


def _rules(results: Results, metric: str) -> list[Rule]:
    known = {name: getattr(score, metric) for name, score in results.baselines.items()}
    return [Rule(name.replace("_", " "), value) for name, value in known.items() if isinstance(value, float)]
