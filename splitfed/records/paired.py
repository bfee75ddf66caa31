"""A defense against the undefended cell, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from splitfed.records.numbers import Interval, Number
from splitfed.records.record import Record
from splitfed.records.student import t_interval


class PairedDifference(Record):
    """The mean over ``n`` private images of a score under the defense less that of the same image under ``none``.

    Both are of the strongest attack, of which ``attacks`` names the defense's and none's. ``ci95`` is Student's
    interval for paired values: what makes one image harder than another cancels. It speaks of these images, this seed
    and these two trained networks.
    """

    mean: Number
    ci95: Interval
    n: int
    attacks: tuple[str, str]


def paired_difference(
    values: Sequence[float], reference: Sequence[float], *, attacks: tuple[str, str]
) -> PairedDifference | None:
    """Of the scores of the same images, in one order; None for fewer than two.

    >>> paired_difference([1.0, 2.0, 4.0], [0.0, 1.0, 2.0], attacks=("ridge", "decoder")).mean
    1.3333333333333333
    """
    changed = [value - other for value, other in zip(values, reference, strict=True)]
    interval = t_interval(changed)
    if interval is None:
        return None
    return PairedDifference(mean=fmean(changed), ci95=interval, n=len(changed), attacks=attacks)
