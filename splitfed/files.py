"""Paths as people write them, files that are written whole or not at all, and what to say where that fails."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from splitfed.errors import UserError

UNNAMED = "standard output, or a file that was being written"
ELSEWHERE = "name another place"

_ACCESS = "give this user access to it, or {elsewhere}"
_ROOM = "free space there, or {elsewhere}"
_CURES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or {elsewhere}",
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: "it can only be read: {elsewhere}",
    errno.EIO: "the device fails: {elsewhere}",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file where a folder is needed: {elsewhere}",
    errno.EISDIR: "it is a folder where a file is needed: {elsewhere}",
    errno.EEXIST: "it is in the way: {elsewhere}",
    errno.ELOOP: "symbolic links lead round in a circle: mend them, or {elsewhere}",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}
_WITHOUT_A_NAME = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE})
"""Faults of the machine that Python reports without a file: writing to one that is open."""


def as_path(value: str | os.PathLike[str]) -> Path:
    """A path from the command line, from a file of settings or from a caller, ``~`` replaced by the home directory.

    Raises:
        UserError: it is empty, or nobody knows where the home directory is.
    """
    if not os.fspath(value):
        raise UserError("a path is empty; expected a file or a folder, such as . for the working folder")
    path = Path(value)
    try:
        return path.expanduser()
    except RuntimeError:
        home = path.parts[0]
        raise UserError(
            f"{path}: there is no home directory to put in place of {home}; set HOME or write the path in full "
            f"(./{home} for a folder of that name)"
        ) from None


def explain(error: OSError, path: Path | None = None, *, elsewhere: str = ELSEWHERE) -> str | None:
    """Where, what and the way out, for a fault of the user's machine; None for what may be a bug.

    Args:
        error: with the name of a file, or one of those that tell of a full or broken disk.
        path: what was written or read, where the error does not say it.
        elsewhere: how to name another place, as in "name another place with --out".
    """
    named = path if path is not None else error.filename
    if named is None and error.errno not in _WITHOUT_A_NAME:
        return None
    what = error.strerror or str(error)
    where = os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else UNNAMED
    cure = _CURES.get(error.errno or 0, elsewhere).format(elsewhere=elsewhere)
    return f"{where}: {what}; {cure}"


def cannot(do: str, path: Path, error: OSError, *, elsewhere: str = ELSEWHERE) -> UserError:
    """The message for a fault at `path`: ``cannot("write", ...)`` says "cannot write runs/a: No space left ..."."""
    return UserError(f"cannot {do} {explain(error, path, elsewhere=elsewhere)}")


def check_place(folder: Path, *, elsewhere: str = ELSEWHERE) -> None:
    """Whether this user may make files in this folder, or make the folder.

    Raises:
        UserError: it is a file, or it or the nearest folder above it cannot be written.
    """
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        fault: OSError = NotADirectoryError(errno.ENOTDIR, f"{there} is no folder")
    elif not os.access(there, os.W_OK | os.X_OK):
        fault = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    else:
        return
    raise cannot("write into", folder, fault, elsewhere=elsewhere)


def write_whole(path: Path, data: bytes, *, elsewhere: str = ELSEWHERE) -> None:
    """Replace a file in one step, also if the machine stops in between: the old one stays, or the new one is there.

    A link is followed; a device or a pipe is written to as it is.

    Raises:
        UserError: it cannot be written; the message says why and what to do.
    """
    try:
        target = path.resolve()
        if target.exists() and not (target.is_file() or target.is_dir()):
            target.write_bytes(data)
        else:
            _replace(target, data)
    except (OSError, RuntimeError) as error:  # pathlib calls a circle of links a RuntimeError
        fault = error if isinstance(error, OSError) else OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        raise cannot("write", path, fault, elsewhere=elsewhere) from error


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)  # temporary files are private; a run may be read by others
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
