"""What an attacker would have who knew which observations are of one image."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import PlainSerializer

from splitfed.records.record import Record


def _or_null(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


Number = Annotated[float | None, PlainSerializer(_or_null, when_used="json")]


class LinkedOracle(Record):
    """Observations of one image linked by the lab's truth, which no attacker has, over ``n`` victims of the pool.

    A client sends each image again in every epoch, with fresh noise. ``observations`` is how many of an image there are
    on the mean: its audit, and its training steps of the rounds that were kept. ``psnr_db`` in dB and ``ssim`` are of
    the posterior mean over the attacker's own images by the sum of their log-likelihoods, ``reid_matched`` is how often
    the image is found among the n through the fronts, by the same sum; how much training counts in it is the best for
    each. What begins with ``audit_`` is the same of the
    audit alone: what linking is worth is the difference.
    """

    observations: Number
    n: int
    psnr_db: Number
    ssim: Number
    reid_matched: Number
    audit_psnr_db: Number
    audit_ssim: Number
    audit_reid_matched: Number
