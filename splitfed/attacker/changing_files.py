"""Files that another process may be writing just now."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from splitfed.errors import UserError

T = TypeVar("T")

UNDER_WAY_S = 1.0
"""A file that does not fit and has not changed for so long is no longer being written."""
MOST_CHANGES = 30
"""So often is a file looked at that changes all the time and never fits."""


def when_whole(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of a file. One that does not fit may be in the midst of being written: it is read again as long
    as it changes."""
    for _ in range(MOST_CHANGES):
        before = _stamp(path)
        try:
            return read(path)
        except UserError:
            time.sleep(UNDER_WAY_S)
            if _stamp(path) == before:
                raise
    return read(path)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
