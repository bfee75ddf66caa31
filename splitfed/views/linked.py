"""What linking the observations of one image would be worth, in words: a line per defense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitfed.records.summary import by_defense
from splitfed.views import summary
from splitfed.views.text import number, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from splitfed.records.linked import LinkedOracle
    from splitfed.records.results import Results

READING = (
    "A client sends each image again in every epoch, with fresh noise. No attack here knows which observations are of "
    "one image; linked by the lab's truth, the posterior mean over the attacker's images and the search through the "
    "front would have"
)


def sentences(results: Results) -> list[str]:
    """What linked observations would give, in one sentence; none where no defense draws noise by a known law."""
    told = []
    for cells in by_defense(results.cells):
        found = [cell.linked_oracle for cell in cells if cell.linked_oracle is not None]
        if found:
            told.append(f"{summary.label(cells[0].defense, cells[0].params)}: {_told(found)}")
    return [f"{READING}: {'; '.join(told)}."] if told else []


def _told(found: Sequence[LinkedOracle]) -> str:
    """The means over seeds."""
    alone = _scores(_mean(o.audit_psnr_db for o in found), _mean(o.audit_ssim for o in found))
    together = _scores(_mean(o.psnr_db for o in found), _mean(o.ssim for o in found))
    reid = percent(_mean(o.audit_reid_matched for o in found)), percent(_mean(o.reid_matched for o in found))
    count = number(_mean(o.observations for o in found), 1)
    return f"{count} observations of an image {together}, re-id {reid[1]} (of the audit alone {alone}, {reid[0]})"


def _scores(psnr_db: float | None, ssim: float | None) -> str:
    return f"{number(psnr_db, 1)} dB / {number(ssim, 3)}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
