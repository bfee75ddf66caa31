"""The final table, for a terminal, for Markdown and for LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from splitfed.records.measures import MEASURES
from splitfed.views import bounds, differences, linked, phases, summary
from splitfed.views.terminal.console import RULED_HEAD
from splitfed.views.text import MISSING, SYNTHETIC, byte_pair, number, percent
from splitfed.views.training import how_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from splitfed.records.measures import Measure
    from splitfed.records.results import Results
    from splitfed.views.summary import Estimate, Row

FRECHET = {"fid_lite0": ("EfficientNet-Lite0", 1280), "fid": ("Inception-v3", 2048)}
"""The Fréchet metrics: network, and features per image, of which it takes twice as many images."""
NARROW = {
    "accuracy": "accu-\nracy",
    "psnr_db": "PSNR\ndB",
    "ssim": "SSIM\n",
    "reid": "re-id\n",
    "psnr_excess_db": "excess\ndB",
    "fid_lite0": "FID\nlite0",
    "fid": "FID\n",
}
"""The measures that have a column, with their titles for 80 columns, in two lines."""
WITH_INTERVAL = frozenset({"accuracy", "psnr_db", "ssim"})
SSIM = "SSIM is the mean over the whole map; JSON and CSV also have it without the border of its window (ssim_cropped)."
"""Which of the two usual scalars is meant: on small images they differ much."""
IDEAL = "Where re-id reads a / b: we found a, the ideal attacker b, whom nobody can exceed."
"""What a second rate of re-identification is."""
FEWER = "[n]: over n of the images only; other images score otherwise."
"""What the mark beside an attack says."""
AT_CAP = "At cap: the attack was still improving when it reached its limit; more effort gets more."
"""What the words beside an attack say."""
VANTAGES = {
    "wire": "The attacker looked on from the wire, between clients and server.",
    "server": "The attacker was the server itself, honest but curious.",
}
"""Where the activations come from that were attacked."""
SEALED = (
    "sealed: the wire was under TLS; its attacker saw ciphertext, 0 activations, and had nothing to attack. Nothing "
    'was measured of what the defense keeps: the server sees all that it is sent (attacker.vantage = "server").'
)
"""What the word in place of an attack says."""
WIDE_COLUMNS = 132
"""From this width on a terminal shows the intervals too."""


class Column(NamedTuple):
    """One column: ``better`` is the direction that is better for the defender (``↑``, ``↓`` or none)."""

    title: str
    narrow_title: str
    """The title for 80 columns, in two lines."""
    better: str
    cell: Callable[[Row, bool], str]
    """The text for a row, with or without its interval."""

    @property
    def heading(self) -> str:
        """Title and arrow in one line."""
        return f"{self.title} {self.better}".rstrip()

    @property
    def narrow_heading(self) -> str:
        """Title and arrow in two short lines."""
        return f"{self.narrow_title} {self.better}".rstrip()


def results_table(results: Results) -> RenderableType:
    """The final table for a rich console: one row per defense, baselines and failed gates beneath."""
    return _ResultsTable(results)


class _ResultsTable:
    """Draws itself for the width that it gets."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the width at hand."""
        del console
        if self._results.dataset.synthetic:
            yield banner(SYNTHETIC)
        wide = options.max_width >= WIDE_COLUMNS
        yield _rich_table(self._results, wide=wide)
        if changed := differences.table(self._results):
            yield _rich_plain(*changed)
        if wide and (known := bounds.rows(self._results)):
            yield _rich_plain([bounds.TITLE, *bounds.HEADER[1:]], known)
        for line in failures(self._results):
            yield Text(line, style="bold red")
        yield Text(" ".join(how_to_read(self._results)), style="dim")


def banner(message: str) -> Padding:
    """A line that no one can miss, in light and dark terminals."""
    return Padding(Text(message), (0, 1), style="bold white on red")


def columns(results: Results) -> list[Column]:
    """The columns of the table, in their order; FID only where it was asked for."""
    unasked = {metric for metric in FRECHET if summary.images_scored(results, metric) is None}
    return [
        *(_measured(MEASURES[name]) for name in NARROW if name not in unasked),
        Column("bytes cut/wire", "bytes\ncut/wire", MEASURES["wire_bytes_per_image"].arrow, _bytes),
        Column("strongest attack", "\nattack", "", lambda row, _: row.strongest),
        Column("verdict", "\nverdict", "", lambda row, _: "valid" if row.valid else "INVALID"),
    ]


def _measured(measure: Measure) -> Column:
    """The column of a measure, its title, arrow and digits as they are declared."""

    def cell(row: Row, wide: bool) -> str:
        estimate: Estimate = getattr(row, measure.name)
        if measure.name == "reid" and wide and row.ideal_reid.mean is not None:
            return f"{percent(estimate.mean)} / {percent(row.ideal_reid.mean)}"
        if measure.form == "percent":
            return percent(estimate.mean)
        if measure.form == "signed":
            return MISSING if estimate.mean is None else f"{estimate.mean:+.{measure.digits}f}"
        return _estimate(estimate, measure.digits, wide and measure.name in WITH_INTERVAL)

    return Column(measure.label, NARROW[measure.name], measure.arrow, cell)


def failures(results: Results) -> list[str]:
    """One line per failed gate: which cell, which gate, what was found."""
    return [
        f"INVALID {cell}: gate {gate} failed" + (f" ({detail})" if detail else "")
        for row in summary.rows(results)
        for cell, gate, detail in row.failed_gates
    ]


def how_to_read(results: Results) -> list[str]:
    """What the table means, in sentences."""
    seeds = summary.seed_count(results)
    interval = (
        f"± is the 95 % interval of the mean over {seeds} seeds, by Student's t." if seeds > 1
        else "± is the 95 % bootstrap interval over images."
    )  # fmt: skip
    return [
        "Arrows point to what is better for the defender.",
        "Scores are those of the strongest attack on each defense, by SSIM.",
        VANTAGES[results.vantage],
        *([SEALED] if summary.any_sealed(results) else []),
        SSIM,
        *([IDEAL] if any(row.ideal_reid.mean is not None for row in summary.rows(results)) else []),
        *phases.sentences(results),
        *([FEWER] if any("[" in row.strongest for row in summary.rows(results)) else []),
        *([AT_CAP] if any(summary.AT_CAP in row.strongest for row in summary.rows(results)) else []),
        f"Always naming the most frequent class gives accuracy {number(summary.majority_rate(results), 3)}, "
        f"guessing who is who gives re-id {summary.guessed(results)}.",
        "Excess: PSNR above the class mean, which is leakage of the individual rather than of its class.",
        "Bytes per image: the activation at the cut / all that crossed the wire for it.",
        *how_trained(results),
        interval,
        *differences.reading(results),
        *_frechet(results),
        *linked.sentences(results),
        *([f"{results.dataset.caveat}."] if results.dataset.caveat else []),
    ]


def _frechet(results: Results) -> list[str]:
    """What each Fréchet distance compared, and why it may be missing."""
    lines = []
    for metric, (network, features) in FRECHET.items():
        title, images = MEASURES[metric].label, summary.images_scored(results, metric)
        if images is not None:
            few = "" if images >= 2 * features else f": too few, it takes at least 2 × {features:,} = {2 * features:,}"
            lines.append(f"{title}: between the {network} features of {images:,} reconstructions and originals{few}.")
    return lines


def to_markdown(results: Results) -> str:
    """The table as GitHub-flavored Markdown, with how to read it."""
    listed = columns(results)
    lines = ["| defense | " + " | ".join(c.heading for c in listed) + " |", "|---" * (len(listed) + 1) + "|"]
    lines += [_markdown_row(row.label, [c.cell(row, True) for c in listed]) for row in summary.rows(results)]
    lines += [_markdown_row(f"*{label}*", cells) for label, cells in plain_cells(results, listed)]
    synthetic = [f"**{SYNTHETIC}.**", ""] if results.dataset.synthetic else []
    faults = [f"- **{line}**" for line in failures(results)]
    lines += _markdown_differences(results)
    return "\n".join([*synthetic, *lines, "", *faults, *([""] if faults else []), *how_to_read(results), ""])


def _markdown_differences(results: Results) -> list[str]:
    changed = differences.table(results)
    if changed is None:
        return []
    header, rows = changed
    lines = [_markdown_row(header[0], header[1:]), "|---" * len(header) + "|"]
    return ["", *lines, *(_markdown_row(row[0], row[1:]) for row in rows)]


def to_latex(results: Results) -> str:
    """The table as a booktabs ``tabular``."""
    listed = columns(results)
    titles = ["defense", *(c.heading for c in listed)]
    body = [[row.label, *(c.cell(row, True) for c in listed)] for row in summary.rows(results)]
    body += [[label, *cells] for label, cells in plain_cells(results, listed)]
    changed = differences.table(results)
    tabulars = [_tabular([titles, *body])] + ([_tabular([changed[0], *changed[1]])] if changed else [])
    if known := bounds.rows(results):
        tabulars.append(_tabular([[*bounds.HEADER], *known]))
    comments = [f"% {line}" for line in (*_synthetic(results), *failures(results), *how_to_read(results))]
    return "\n".join([*comments, "\n\n".join(tabulars), ""])


def _tabular(rows: list[list[str]]) -> str:
    lines = [" & ".join(map(_tex, row)) + r" \\" for row in rows]
    lines.insert(1, r"\midrule")
    top, bottom = rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}", r"\end{tabular}"
    return "\n".join([top, r"\toprule", *lines, r"\bottomrule", bottom])


def _rich_table(results: Results, *, wide: bool) -> Table:
    table = Table(box=RULED_HEAD, padding=(0, int(wide), 0, 0), pad_edge=False, header_style="bold")
    listed = columns(results)
    table.add_column("defense")
    for column in listed:
        heading = column.heading if wide else column.narrow_heading
        table.add_column(heading, justify="right" if column.better else "left", no_wrap=bool(column.better))
    for row in summary.rows(results):
        style = "" if row.valid else "bold red"
        table.add_row(Text(row.label), *(Text(c.cell(row, wide)) for c in listed), style=style)
    table.add_section()
    for label, cells in plain_cells(results, listed):
        table.add_row(Text(label), *map(Text, cells), style="dim")
    return table


def plain_cells(results: Results, listed: list[Column]) -> Iterator[tuple[str, list[str]]]:
    for row in summary.plain_rows(results):
        known = {
            MEASURES[name].label: number(getattr(row, name), MEASURES[name].digits) for name in ("psnr_db", "ssim")
        }
        yield row.label, [known.get(column.title, "") for column in listed]


def _estimate(value: Estimate, digits: int, wide: bool) -> str:
    text = number(value.mean, digits)
    if not wide or value.low is None or value.high is None:
        return text
    return f"{text} ±{number((value.high - value.low) / 2, digits)}"


def _rich_plain(header: list[str], rows: list[list[str]]) -> Table:
    drawn = Table(box=RULED_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for position, title in enumerate(header):
        drawn.add_column(title, justify="right" if position else "left")
    for row in rows:
        drawn.add_row(*map(Text, row))
    return drawn


def _bytes(row: Row, wide: bool) -> str:
    return byte_pair(row.activation_bytes, row.wire_bytes, digits=2 if wide else 1)


def _markdown_row(label: str, cells: list[str]) -> str:
    return f"| {label} | " + " | ".join(cells) + " |"


def _synthetic(results: Results) -> list[str]:
    return [SYNTHETIC] if results.dataset.synthetic else []


def _tex(text: str) -> str:
    plain = text.translate({ord(c): f"\\{c}" for c in "&%$#_{}"})
    signs = {"≤": r"$\leq$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "—": "--"}
    return "".join(signs.get(c, c) for c in plain)
