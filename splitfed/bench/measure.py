"""How long a piece of work takes, and the one JSON line that says so."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What the work gave, and the seconds that it took."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def median_s(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of so many repeats, after one that does not count."""
    work()
    return statistics.median(timed(work)[1] for _ in range(repeats))


def significant(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def print_line(line: dict[str, Any]) -> None:
    """A case, at once: what comes next may take minutes."""
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
