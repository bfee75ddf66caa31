"""Intervals of a mean by Student's t, in plain Python: a report is written without loading anything for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev

LEVEL = 0.95
MANY = 200
"""Degrees of freedom from which the quantile is that of a normal distribution to 1 %, and its expansion to 1e-6."""
NORMAL = 1.959963984540054


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of independent values of about normal distribution; None for fewer than two.

    Source: Student 1908, "The probable error of a mean".

    >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    half = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


@cache
def t_quantile(degrees: int) -> float:
    """The t that is exceeded in size with probability 5 %, at so many degrees of freedom.

    >>> round(t_quantile(1), 3), round(t_quantile(2), 3), round(t_quantile(10**6), 3)
    (12.706, 4.303, 1.96)
    """
    if degrees > MANY:
        z = NORMAL
        first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
        return z + first / degrees + second / degrees**2
    low, high = 0.0, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < LEVEL else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """P(|T| < t) at a whole number of degrees (Abramowitz and Stegun 1964, eqs. 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(degrees // 2):
        total += term
        term *= cosine**2 * (2 * step + 1 + odd) / (2 * step + 2 + odd)
    return (2 / math.pi) * (angle + sine * total) if odd else sine * total
