"""The published figures of tables 2 and 3 beside ours, each with what is known of why they differ.

The figures are compared with, never tuned to.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

from splitfed.views import summary
from splitfed.views.text import number

if TYPE_CHECKING:
    from splitfed.records.results import Results
    from splitfed.views.summary import Row

CITATION = "Dibbo, Breuer, Moore and Teti, arXiv 2403.14772"
HEADER = ("defense", "accuracy", "published", "PSNR dB", "published", "SSIM", "published", "what differs")
EVERY_CELL = (
    "In every published cell, as far as the public code goes (SayantonDibbo/SCA at 7a33086): the attack's decoder is "
    "in no optimizer and stays at its random start while the victim's front moves instead; PSNR is taken without a "
    "data range, SSIM with a range of 1 on data of range 2 or more; linear layers see gray images row by row, color "
    "ones go through convolutions. Here the attacks are trained, the victim is frozen, images are scored in [0, 1], "
    "SSIM over the whole map, and one kind of linear front sees the whole image."
)
DEPARTURES = {
    "gaussian": "code: a multiplication by a constant, in training only; here noise after training, as "
    "the text has it, so that training steps travel clean and are attacked too",
    "laplace": "code: no noise in evaluation mode; here in every phase",
    "gan": "code: the extra term enters the loss as a plain number; here it has a gradient",
    "gong": "code: the extra terms enter the loss as plain numbers; here they have gradients",
    "gong++": "code: the extra terms enter the loss as plain numbers; here they have gradients",
    "bido": "code: the dependency enters the loss as a plain number; here it has a gradient",
    "mid": "code: a divergence between two scalars; here a variational bottleneck",
    "sparse_standard": "code: the dictionary is random and fixed; here it is learned",
    "sca": "code: the dictionaries are random and fixed; here they are learned",
}
"""What the public code does with a defense, where that departs from the text that we follow."""


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table; ``psnr_db`` in dB, ``accuracy`` and ``ssim`` up to 1."""

    table: int
    threat: str
    dataset: str
    defense: str
    l1_weight: float | None
    psnr_db: float
    ssim: float
    fid: float
    accuracy: float


@lru_cache(maxsize=1)
def published() -> tuple[PublishedRow, ...]:
    """Every row of tables 2 and 3."""
    text = files("splitfed.views").joinpath("published.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(
        PublishedRow(
            table=int(row["table"]),
            threat=row["threat"],
            dataset=row["dataset"],
            defense=row["defense"],
            l1_weight=float(row["l1_weight"]) if row["l1_weight"] else None,
            psnr_db=float(row["psnr_db"]),
            ssim=float(row["ssim"]),
            fid=float(row["fid"]),
            accuracy=float(row["accuracy"]),
        )
        for row in csv.DictReader(lines)
    )


def entries(results: Results) -> list[tuple[Row, PublishedRow]]:
    """Each row of ours with the published one for the same threat, data set, defense and l1_weight."""
    known = {
        (p.defense, p.l1_weight): p
        for p in published()
        if (p.threat, p.dataset) == (results.threat, results.dataset.name)
    }
    of_paper = (row for row in summary.rows(results) if not row.params.get("always"))  # noise in training is ours
    ours = ((row, known.get((row.defense, _l1_weight(row)))) for row in of_paper)
    return [(row, found) for row, found in ours if found is not None]


def compare(results: Results) -> tuple[str, list[list[str]]] | None:
    """A title and the cells under `HEADER`; None where no row of ours was published."""
    found = entries(results)
    if not found:
        return None
    title = f"Beside table {found[0][1].table} of {CITATION}"
    return title, [_cells(row, other, results) for row, other in found]


def to_markdown(results: Results) -> str:
    """The comparison as a Markdown section; empty where nothing was published to compare with."""
    shown = compare(results)
    if shown is None:
        return ""
    title, rows = shown
    lines = ["| " + " | ".join(cells) + " |" for cells in ([*HEADER], ["---"] * len(HEADER), *rows)]
    return "\n".join([f"## {title}", "", *lines, "", EVERY_CELL, ""])


def _cells(row: Row, other: PublishedRow, results: Results) -> list[str]:
    pairs = ((row.accuracy, other.accuracy, 3), (row.psnr_db, other.psnr_db, 1), (row.ssim, other.ssim, 3))
    numbers = [text for ours, theirs, digits in pairs for text in (number(ours.mean, digits), number(theirs, digits))]
    label = row.label if row.valid else f"{row.label} INVALID"
    return [label, *numbers, _why(other, results)]


def _why(other: PublishedRow, results: Results) -> str:
    reasons = [DEPARTURES[other.defense]] if other.defense in DEPARTURES else []
    baselines = results.baselines.get("mean_image")
    blind = baselines.psnr_db if baselines else None
    if blind is not None and other.psnr_db < blind:
        reasons.append(f"published PSNR is below the mean image's {blind:.1f} dB, which takes no attack at all")
    return "; ".join(reasons) or "what holds for every cell"


def _l1_weight(row: Row) -> float | None:
    return float(row.params["l1_weight"]) if row.defense == "sca" and "l1_weight" in row.params else None
