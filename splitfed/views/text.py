"""Numbers and curves as short text."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitfed.views.progress import RunState

BARS = "▁▂▃▄▅▆▇█"
_UNITS = ("B", "kB", "MB", "GB", "TB")
MISSING = "—"
SYNTHETIC = "SYNTHETIC DATA: images drawn by a program. No figure here is about real data"


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve in at most ``width`` characters, scaled to its own lowest and highest value.

    Longer series are averaged down; a value that is not finite leaves a gap.

    >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8)
    '▁▂▃▄▅▆▇█'
    >>> sparkline([0, 0, 7, 7], 2)
    '▁█'
    """
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)] if count else []
    means = [_mean(values[start:stop]) for start, stop in pairwise(edges)]
    finite = [value for value in means if math.isfinite(value)]
    if not finite:
        return " " * count
    low, span = min(finite), max(finite) - min(finite)
    return "".join(_bar((value - low) / span if span else 0.5) for value in means)


def number(value: float | None, digits: int) -> str:
    """A number with fixed digits, or a dash where there is none.

    >>> number(0.98765, 3), number(None, 3), number(float("nan"), 1)
    ('0.988', '—', '—')
    """
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as percent.

    >>> percent(0.125), percent(0.001)
    ('12.5 %', '0.1 %')
    """
    return MISSING if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def byte_count(count: float | None) -> str:
    """Bytes in the largest decimal unit that leaves at least one digit.

    >>> byte_count(2050.4), byte_count(999), byte_count(12_345_678)
    ('2.05 kB', '999 B', '12.3 MB')
    """
    if count is None or not math.isfinite(count):
        return MISSING
    power = _power_of_1000(count)
    return f"{count / 1000**power:.3g} {_UNITS[power]}"


def byte_pair(first: float | None, second: float | None, *, digits: int = 2) -> str:
    """Two counts of bytes in one unit, that of the larger.

    >>> byte_pair(2000, 2050.4), byte_pair(500, None)
    ('2.00/2.05 kB', '500/— B')
    """
    counts = [count for count in (first, second) if count is not None and math.isfinite(count)]
    power = _power_of_1000(max(counts, default=0))
    places = digits if power else 0
    shown = (number(count if count is None else count / 1000**power, places) for count in (first, second))
    return "/".join(shown) + f" {_UNITS[power]}"


def duration(seconds: float) -> str:
    """A span of time as one reads a clock.

    >>> duration(7.4), duration(75), duration(3700)
    ('7 s', '1:15 min', '1:01 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


def time_left(run: RunState, now_s: float) -> str:
    """What to say about the time left: a figure, a lower bound, or that it is not known yet."""
    if run.finished:
        return "finished"
    left = run.time_left(now_s)
    if left is None:
        return "time left: estimating"
    if left.seconds < 1:
        return "finishing"
    return f"{'at least' if left.at_least else 'about'} {duration(left.seconds)} left"


def cell_position(run: RunState) -> str:
    """Which cell of how many: "cell 2 of 3", or "cells 2, 3 of 13" where several run at a time."""
    names = run.cell_names
    places = sorted(names.index(name) + 1 for name in run.running if name in names) or [len(run.done)]
    return f"cell{'s' if len(places) > 1 else ''} {', '.join(map(str, places))} of {len(names)}"


def _power_of_1000(count: float) -> int:
    return min(len(f"{count:.0f}") - 1, 3 * len(_UNITS) - 1) // 3


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _bar(height: float) -> str:
    return BARS[min(int(height * len(BARS)), len(BARS) - 1)] if math.isfinite(height) else " "
