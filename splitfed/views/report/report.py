"""A run as one HTML page: the table, how to read it, curves, reconstructions, features, gates, and how it was made."""

from __future__ import annotations

from contextlib import nullcontext
from html import escape
from typing import TYPE_CHECKING

from splitfed.errors import UserError
from splitfed.files import as_open_as, file_name, size_bytes, write_whole
from splitfed.records.record import to_json
from splitfed.records.store import RunStore
from splitfed.views import attacks, ledger, summary, table
from splitfed.views.progress import RunState
from splitfed.views.report import charts, features, page
from splitfed.views.text import MISSING, SYNTHETIC, byte_count, duration, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from splitfed.records.results import AttackScore, CellResult, Interval, Results

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
    text = page.page(f"splitfed: {results.scenario}", _body(store, results, run))
    place = path or store.report_path
    with nullcontext() if path else as_open_as(store.path):  # elsewhere the user's own umask decides who may read it
        write_whole(place, text.encode("utf-8", "backslashreplace"), elsewhere=WITH_OUTPUT)
    return place


def _body(store: RunStore, results: Results, run: RunState) -> Iterator[str]:
    yield _header(store, results, run)
    yield page.section("Results", _headline(results), _results_table(results), _differences_table(results))
    yield _ledger(results)
    yield page.section("How to read this", page.bullet_list([*table.how_to_read(results), *_HOW_TO_READ]))
    yield page.section("Accuracy against leakage, and how both came about", charts.charts(results, run))
    yield page.section("What the attacker reconstructed", *map(page.image_figure, _grids(store)))
    yield features.section(store.path)
    yield page.section(attacks.TITLE, _attacks_by_defense(results), page.folded("Each cell", _attacks_table(results)))
    yield page.section("Gates", page.paragraph(_GATES), *(_gates(cell) for cell in results.cells))
    yield page.section("Notices", page.bullet_list([f"{note.level}: {note.message}" for note in run.notices]))
    manifest = to_json(store.manifest, indent=2).decode()
    yield page.section(
        "What this run was made with",
        page.paragraph(f"{store.path.name} takes {byte_count(size_bytes(store.path))} on disk."),
        page.folded("Scenario, seeds, versions, commit and machine", page.element("pre", escape(manifest))),
    )


_HOW_TO_READ = [
    "PSNR and SSIM say how close reconstructions are to the private images; a useful model always leaks the class, "
    "so the class-mean predictor is the line to compare with, not zero.",
    "Re-identified: how often a reconstruction's nearest neighbor among the true images is its own original.",
    "The untrained control is an attack that learned nothing. An evaluation whose attacks score like it "
    "measured nothing.",
]
_GATES = (
    "Each cell is checked for the ways in which an evaluation goes wrong and a defense looks stronger than it is. "
    "A cell that fails one does not count, whatever its figures say."
)


def _header(store: RunStore, results: Results, run: RunState) -> str:
    data = results.dataset
    channels, height, width = data.shape
    kind = "gray" if channels == 1 else "color"
    created = store.manifest.created[:16].replace("T", " ")
    facts = (
        f"{data.name}: {data.train:,} private images, {data.aux:,} auxiliary, {data.test:,} test, "
        f"{width}×{height} {kind}, {data.classes} classes. Threat: {results.threat}. "
        f"Run {store.path.name}, created {created} UTC."
    )
    parts = [page.element("h1", escape(results.scenario)), page.paragraph(facts, class_="sub")]
    banners = [SYNTHETIC] if data.synthetic else []
    if not results.valid:
        banners.append("INVALID: at least one cell failed a gate. " + " ".join(table.failures(results)))
    missing = [name for name in run.cell_names if name not in {cell.cell for cell in results.cells}]
    if missing:
        banners.append(f"UNFINISHED: no results yet for {', '.join(missing)}")
    if caveat := data.caveat:
        parts.append(page.paragraph(f"{caveat}.", class_="sub"))
    banners += [notice.message for notice in run.notices if notice.level == "banner"]
    parts += [page.paragraph(text, class_="banner", role="alert") for text in banners]
    return page.element("header", "\n".join(parts))


def _headline(results: Results) -> str:
    """What leaks without a defense, and past the one that leaks least, among valid rows."""
    scored = [row for row in summary.rows(results) if row.valid and row.ssim.mean is not None]
    bare = next((row for row in scored if row.defense == "none"), None)
    if bare is None or len(scored) < 2:
        return ""
    tightest = min(scored, key=lambda row: row.ssim.mean or 0.0)
    return page.paragraph(
        f"Undefended, the strongest attack ({bare.strongest}) reaches {_closeness(bare)}, at accuracy "
        f"{number(bare.accuracy.mean, 3)}. The least leaks with {tightest.label}: {tightest.strongest} reaches "
        f"{_closeness(tightest)}, at accuracy {number(tightest.accuracy.mean, 3)}."
    )


def _closeness(row: summary.Row) -> str:
    return (
        f"{number(row.psnr_db.mean, 1)} dB (SSIM {number(row.ssim.mean, 3)}) and re-identifies "
        f"{percent(row.reid_top1.mean)} of the images"
    )


def _results_table(results: Results) -> str:
    columns = table.columns(results)
    rows = [
        ("" if row.valid else "invalid", [row.label, *(column.cell(row, True) for column in columns)])
        for row in summary.rows(results)
    ]
    rows += [("dim", [label, *cells]) for label, cells in table.plain_cells(results, columns)]
    caption = "Scores of the strongest attack on each defense. Arrows point to what is better for the defender."
    return page.table(["defense", *(column.heading for column in columns)], rows, caption=caption)


def _differences_table(results: Results) -> str:
    changed = table.difference_table(results)
    if changed is None:
        return ""
    header, rows = changed
    caption = "Mean change against the undefended cell of the same seed, ± one standard deviation over seeds."
    return page.table(header, [("", row) for row in rows], caption=caption)


def _ledger(results: Results) -> str:
    shown = ledger.ledger(results)
    if shown is None:
        return ""
    title, rows = shown
    compared = page.table([*ledger.HEADER], [("", cells) for cells in rows])
    return page.section(title, compared, page.paragraph(ledger.EVERY_CELL))


def _attacks_by_defense(results: Results) -> str:
    rows = [("", row) for row in attacks.rows(results, marks=("", " *"))]
    return page.table(["defense", *attacks.names(results)], rows, caption=f"* the strongest. {attacks.READING}")


def _attacks_table(results: Results) -> str:
    rows = list[tuple[str, list[str]]]()
    for cell in results.cells:
        for name, score in cell.attacks.items():
            strongest = " (strongest)" if name == cell.strongest else ""
            rows.append(("", [f"{cell.cell}, {name}{strongest}", *_scores(score)]))
        rows += [("dim", [f"{cell.cell}, {name} control", *_scores(s)]) for name, s in cell.controls.items()]
    header = [
        "cell, attack",
        "PSNR dB",
        "99th percentile dB",
        "excess dB",
        "SSIM",
        "SSIM cropped",
        "re-identified",
        "images",
    ]
    return page.table(header, rows, caption="Intervals are 95 % bootstrap intervals over images.")


def _scores(score: AttackScore) -> list[str]:
    return [
        _with_interval(score.psnr_db, score.psnr_db_ci95, 1),
        number(score.psnr_db_p99, 1),
        number(score.psnr_excess_db, 1),
        _with_interval(score.ssim, score.ssim_ci95, 3),
        number(score.ssim_cropped, 3),
        percent(score.reid_top1),
        f"{score.n:,}",
    ]


def _with_interval(value: float | None, interval: Interval, digits: int) -> str:
    return f"{number(value, digits)} [{number(interval[0], digits)}, {number(interval[1], digits)}]"


def _grids(store: RunStore) -> list[Path]:
    """The comparison, then one grid per cell in the order of the results, then any others."""
    order = [*COMPARISONS, *(f"{file_name(cell)}.png" for cell in store.finished_cells())]
    there = {path.name: path for path in store.pictures}
    return [there[name] for name in (*order, *(name for name in there if name not in order)) if name in there]


def _gates(cell: CellResult) -> str:
    failed = len(summary.failed_gates(cell))
    verdict = f"INVALID, {failed} failed" if failed else "valid"
    timing = f"trained in {_seconds(cell.train_s)}, attacked in {_seconds(cell.attack_s)}"
    lines = [
        page.element(
            "li",
            f"{page.element('span', 'passed' if passed else 'FAILED', class_='passed' if passed else 'failed')} "
            f"{escape(gate)}: {escape(cell.gate_details.get(gate, 'no detail'))}",
        )
        for gate, passed in cell.gates.items()
    ]
    title = f"{cell.cell}: {verdict}, {len(cell.gates)} gates; {timing}"
    return page.folded(title, page.element("ul", "".join(lines)), is_open=bool(failed))


def _seconds(seconds: float | None) -> str:
    return MISSING if seconds is None else duration(seconds)
