"""Pictures of a run as files that a page may have: these and no others, and no link is followed to them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

FOLDERS = ("wall", "images")
"""Below a run, what lies in these may be shown."""
SUFFIX = ".png"
MOST_BYTES = 64 << 20
MOST_PARTS = 3


def read_picture(run: Path, path: str) -> bytes | None:
    """A PNG file of a run; None where there is none under this path, or it is not one that may be shown.

    Args:
        run: the run's directory.
        path: below it, with slashes.
    """
    parts = path.split("/")
    if parts[0] not in FOLDERS or not 2 <= len(parts) <= MOST_PARTS or not parts[-1].endswith(SUFFIX):
        return None
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        return None
    with suppress(OSError):
        return _read(run, parts)
    return None


def _read(run: Path, parts: list[str]) -> bytes | None:
    """Step by step, each from the folder before, so that nothing is swapped for a link meanwhile."""
    folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            return None
        return _whole(descriptor, found.st_size)
    finally:
        os.close(descriptor)


def _whole(descriptor: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
