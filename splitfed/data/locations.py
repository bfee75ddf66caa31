"""Where data are looked for: what the user named, then the environment, then the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from splitfed.errors import DataError
from splitfed.files import as_path, cache_dir

DATA_VARIABLE = "SPLITFED_DATA"


def downloads_dir() -> Path:
    """Where downloads go, and the last place that is looked in."""
    return cache_dir() / "downloads"


def search_roots(data_root: Path | str | None) -> tuple[Path, ...]:
    """The folders to look in, first to last; some may not exist.

    Raises:
        DataError: ``data_root`` was named and is not a folder.
    """
    roots = []
    if data_root is not None:
        root = as_path(data_root)
        if not root.is_dir():
            raise DataError(f"data root {root}: expected a folder, found {_kind(root)}; name one that holds the data")
        roots.append(root)
    if os.environ.get(DATA_VARIABLE):
        roots.append(as_path(os.environ[DATA_VARIABLE]))
    return (*roots, downloads_dir())


def folders_below(root: Path, depth: int) -> Iterator[Path]:
    """``root`` and the folders up to ``depth`` levels below it, upper levels first; hidden ones are passed over."""
    level = [root] if root.is_dir() else []
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in subfolders(folder)]


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in ``folder``, by name; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def contents(folder: Path) -> list[Path]:
    """Files and folders directly in ``folder``, by name; none where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def looked_in(roots: tuple[Path, ...]) -> str:
    """The roots as a list for a message, with what they are.

    >>> looked_in((Path("/nowhere/data"),))
    '/nowhere/data (nothing there)'
    """
    return ", ".join(str(root) if root.is_dir() else f"{root} ({_kind(root)})" for root in roots)


def _kind(path: Path) -> str:
    return "a file" if path.is_file() else "nothing there"
