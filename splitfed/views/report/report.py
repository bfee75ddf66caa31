"""A run as one HTML page: the table, how to read it, curves, reconstructions, features, gates, and how it was made."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from splitfed.errors import UserError
from splitfed.files import as_open_as, file_name, size_bytes, write_whole
from splitfed.records.measures import MEASURES
from splitfed.records.record import to_json
from splitfed.records.store import RunStore
from splitfed.views import attacks, beside_published, bounds, differences, summary, table
from splitfed.views.charts import assets, figures
from splitfed.views.progress import RunState
from splitfed.views.report import features, page, wall
from splitfed.views.report.page import PageRow, PageTable
from splitfed.views.text import MISSING, SYNTHETIC, byte_count, duration, number, percent

if TYPE_CHECKING:
    from pathlib import Path

    from splitfed.records.numbers import Interval
    from splitfed.records.results import AttackScore, CellResult, Results

COMPARISONS = ("comparison.png", "extremes.png")
"""The grids over all defenses; they come before those of the cells."""


WITH_OUTPUT = "name another place with --output FILE"


def write_report(store: RunStore, path: Path | None = None) -> Path:
    """Write the page to ``path``, by default `report.html` in the run directory, and return where it is.

    Raises:
        UserError: no cell of the run has finished yet, its results or features are damaged, or the file cannot be
            written.
    """
    results = store.results
    if not results.cells:
        raise UserError(f"{store.path}: no cell of this run has finished yet, so there is nothing to report")
    run = RunState()
    for event in store.read_events():
        run.apply(event)
    text = page.render("report.html.j2", _content(store, results, run))
    place = path or store.report_path
    with nullcontext() if path else as_open_as(store.path):  # elsewhere the user's own umask decides who may read it
        write_whole(place, text.encode("utf-8", "backslashreplace"), elsewhere=WITH_OUTPUT)
    return place


def _content(store: RunStore, results: Results, run: RunState) -> dict[str, Any]:
    """What `templates/report.html.j2` shows, by name."""
    drawn = figures.of_run(results, run)
    measured = features.section(store.path)
    pictures = wall.section(store.path, results, {name: cell.started.rounds for name, cell in run.cells.items()})
    return {
        "results": results,
        "facts": _facts(store, results),
        "banners": _banners(results, run),
        "headline": _headline(results),
        "scores": _results_table(results),
        "differences": _differences_table(results),
        "statements": differences.statements(results),
        "bounds": _bounds(results),
        "compared": _compared(results),
        "how_to_read": [*table.how_to_read(results), *_HOW_TO_READ],
        "figures": drawn,
        "wall": wall.about(pictures, results) if pictures else None,
        "images": [shown for path in _grids(store) if (shown := page.image(path)) is not None],
        "features": measured,
        "attacks": {
            "title": attacks.TITLE,
            "by_defense": _attacks_by_defense(results),
            "by_cell": _attacks_by_cell(results),
        },
        "gates": [_gates(cell) for cell in results.cells],
        "notices": [f"{note.level}: {note.message}" for note in run.notices],
        "size": f"{store.path.name} takes {byte_count(size_bytes(store.path))} on disk.",
        "manifest": to_json(store.manifest, indent=2).decode(),
        "drawn": {
            "figures": [figure.to_json() for figure in drawn],
            "features": measured.figure if measured else None,
            "wall": pictures,
        },
        "style": Markup(assets.style()),
        "library": Markup(assets.vendor_script()),
        "modules": Markup(assets.bundle("report.js")),
    }


_HOW_TO_READ = [
    "PSNR and SSIM say how close reconstructions are to the private images; a useful model always leaks the class, "
    "so the class-mean predictor is the line to compare with, not zero.",
    "Re-identified: how often a reconstruction's nearest neighbor among the true images is its own original.",
    "The untrained control is an attack that learned nothing. An evaluation whose attacks score like it "
    "measured nothing.",
]


def _facts(store: RunStore, results: Results) -> str:
    data = results.dataset
    channels, height, width = data.shape
    kind = "gray" if channels == 1 else "color"
    created = store.manifest.created[:16].replace("T", " ")
    return (
        f"{data.name}: {data.train:,} private images, {data.aux:,} auxiliary, {data.test:,} test, "
        f"{width}×{height} {kind}, {data.classes} classes. Threat: {results.threat}, seen from the {results.vantage}. "
        f"Run {store.path.name}, created {created} UTC."
    )


def _banners(results: Results, run: RunState) -> list[str]:
    """What no one may miss."""
    banners = [SYNTHETIC] if results.dataset.synthetic else []
    if not results.valid:
        banners.append("INVALID: at least one cell failed a gate. " + " ".join(table.failures(results)))
    missing = [name for name in run.cell_names if name not in {cell.cell for cell in results.cells}]
    if missing:
        banners.append(f"UNFINISHED: no results yet for {', '.join(missing)}")
    return banners + [notice.message for notice in run.notices if notice.level == "banner"]


def _headline(results: Results) -> str:
    """What leaks without a defense, and past the one that leaks least, among valid rows."""
    scored = [row for row in summary.rows(results) if row.valid and row.ssim.mean is not None]
    bare = next((row for row in scored if row.defense == "none"), None)
    if bare is None or len(scored) < 2:
        return ""
    tightest = min(scored, key=lambda row: row.ssim.mean or 0.0)
    return (
        f"Undefended, the strongest attack ({bare.strongest}) reaches {_closeness(bare)}, at accuracy "
        f"{number(bare.accuracy.mean, 3)}. By SSIM, the least leaks with {tightest.label}: {tightest.strongest} "
        f"reaches {_closeness(tightest)}, at accuracy {number(tightest.accuracy.mean, 3)}."
    )


def _closeness(row: summary.Row) -> str:
    return (
        f"{number(row.psnr_db.mean, 1)} dB (SSIM {number(row.ssim.mean, 3)}) and re-identifies "
        f"{percent(row.reid.mean)} of the images"
    )


def _results_table(results: Results) -> PageTable:
    columns = table.columns(results)
    rows = [
        PageRow([row.label, *(column.cell(row, True) for column in columns)], "" if row.valid else "invalid")
        for row in summary.rows(results)
    ]
    rows += [PageRow([label, *cells], "dim") for label, cells in table.plain_cells(results, columns)]
    caption = "Scores of the strongest attack on each defense. Arrows point to what is better for the defender."
    return PageTable(["defense", *(column.heading for column in columns)], rows, caption)


def _differences_table(results: Results) -> PageTable | None:
    changed = differences.table(results)
    if changed is None:
        return None
    header, rows = changed
    return PageTable(header, [PageRow(row) for row in rows], " ".join(differences.reading(results)))


def _bounds(results: Results) -> dict[str, Any] | None:
    """What nobody can exceed, where it is known of any defense."""
    found = bounds.rows(results)
    if not found:
        return None
    shown = PageTable([*bounds.HEADER], [PageRow(row) for row in found])
    return {"title": bounds.TITLE, "table": shown, "note": bounds.READING}


def _compared(results: Results) -> dict[str, Any] | None:
    """Ours beside the published figures, where there are any."""
    shown = beside_published.compare(results)
    if shown is None:
        return None
    title, rows = shown
    compared = PageTable([*beside_published.HEADER], [PageRow(cells) for cells in rows])
    return {"title": title, "table": compared, "note": beside_published.EVERY_CELL}


def _attacks_by_defense(results: Results) -> PageTable:
    rows = [PageRow(row) for row in attacks.rows(results, marks=("", " *"))]
    return PageTable(["defense", *attacks.names(results)], rows, f"* the strongest. {attacks.READING}")


def _attacks_by_cell(results: Results) -> PageTable:
    rows = list[PageRow]()
    for cell in results.cells:
        for name, score in cell.attacks.items():
            strongest = " (strongest)" if name == cell.strongest else ""
            rows.append(PageRow([f"{cell.cell}, {name}{strongest}", *_scores(score)]))
        rows += [PageRow([f"{cell.cell}, {name} control", *_scores(s)], "dim") for name, s in cell.controls.items()]
    header = [
        "cell, attack",
        *(MEASURES[name].label for name in _BY_CELL),
        "images",
    ]
    return PageTable(header, rows, "Intervals are 95 % bootstrap intervals over images.")


_BY_CELL = ("psnr_db", "psnr_db_p99", "psnr_excess_db", "ssim", "ssim_cropped", "reid_top1", "lite0_distance")


def _scores(score: AttackScore) -> list[str]:
    return [
        _with_interval(score.psnr_db, score.psnr_db_ci95, 1),
        number(score.psnr_db_p99, 1),
        number(score.psnr_excess_db, 1),
        _with_interval(score.ssim, score.ssim_ci95, 3),
        number(score.ssim_cropped, 3),
        percent(score.reid_top1),
        number(score.lite0_distance, 3),
        f"{score.n:,}",
    ]


def _with_interval(value: float | None, interval: Interval, digits: int) -> str:
    return f"{number(value, digits)} [{number(interval[0], digits)}, {number(interval[1], digits)}]"


def _grids(store: RunStore) -> list[Path]:
    """The comparison, then one grid per cell in the order of the results, then any others."""
    order = [*COMPARISONS, *(f"{file_name(cell)}.png" for cell in store.finished_cells())]
    there = {path.name: path for path in store.pictures}
    return [there[name] for name in (*order, *(name for name in there if name not in order)) if name in there]


def _gates(cell: CellResult) -> dict[str, Any]:
    failed = len(summary.failed_gates(cell))
    verdict = f"INVALID, {failed} failed" if failed else "valid"
    timing = f"trained in {_seconds(cell.train_s)}, attacked in {_seconds(cell.attack_s)}"
    return {
        "title": f"{cell.cell}: {verdict}, {len(cell.gates)} gates; {timing}",
        "failed": failed,
        "gates": [
            {"name": gate, "passed": passed, "detail": cell.gate_details.get(gate, "no detail")}
            for gate, passed in cell.gates.items()
        ],
    }


def _seconds(seconds: float | None) -> str:
    return MISSING if seconds is None else duration(seconds)
