"""Where data are looked for: what the user named, then the environment, then the cache."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from splitfed.errors import DataError
from splitfed.files import as_path

DATA_VARIABLE = "SPLITFED_DATA"
CACHE_VARIABLE = "SPLITFED_CACHE"


def cache_dir() -> Path:
    """``$SPLITFED_CACHE``, or ``~/.cache/splitfed``, or for a user without a home a private folder among the temporary
    files. It may not exist yet.

    Raises:
        DataError: there is none that this user alone can write to.
    """
    named = os.environ.get(CACHE_VARIABLE)
    try:
        return Path(named).expanduser() if named else Path.home() / ".cache" / "splitfed"
    except RuntimeError:  # no HOME, and the user is not in the machine's list
        if named:
            raise DataError(f"{CACHE_VARIABLE}={named}: this user has no home; give a full path") from None
        return _private_folder()


def _private_folder() -> Path:
    """A folder of this user's own where all users may write: what it holds is read back and run."""
    try:
        folder = Path(tempfile.gettempdir()) / f"splitfed-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise DataError(f"no folder for a cache: {error}; name one by {CACHE_VARIABLE}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise DataError(f"{folder}: expected a folder that is this user's alone; name another by {CACHE_VARIABLE}")
    return folder


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
