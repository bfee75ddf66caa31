"""Paths as people write them, files that are written whole or not at all, and what to say where that fails."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from splitfed.errors import UserError

one_reader = threading.Lock()
"""Held by whoever reads NumPy's own format while other threads may.

The head of such a file is a Python literal. CPython up to 3.11.7 at least now and then fails where two threads parse
one at the same time ("SystemError: AST constructor recursion depth mismatch", gh-106905): a client would miss a round.
"""

CACHE_VARIABLE = "SPLITFED_CACHE"
UNNAMED = "standard output, or a file that was being written"
ELSEWHERE = "name another place"

LONGEST_NAME_BYTES = 200
"""File systems take 255; the rest is for what is put before and after a name."""
DRAFT = ".draft"
"""The suffix of a file that is still being written, or was when its writer was killed."""

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


def cache_dir() -> Path:
    """``$SPLITFED_CACHE``; else this user's on this platform, such as ``$XDG_CACHE_HOME/splitfed`` or
    ``~/.cache/splitfed``; for a user without a home a private folder among the temporary files. It may not exist yet.

    Raises:
        UserError: there is none that this user alone can write to.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        try:
            return Path(named).expanduser()
        except RuntimeError:  # no HOME, and the user is not in the machine's list
            raise UserError(f"{CACHE_VARIABLE}={named}: this user has no home; give a full path") from None
    import platformdirs

    try:
        folder = platformdirs.user_cache_path("splitfed", appauthor=False)
    except RuntimeError:
        return _private_folder()
    # an older release leaves the ~ of a user without a home as it is
    return folder if folder.is_absolute() else _private_folder()


def _private_folder() -> Path:
    """A folder of this user's own where all users may write: what it holds is read back and run."""
    try:
        folder = Path(tempfile.gettempdir()) / f"splitfed-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UserError(f"no folder for a cache: {error}; name one by {CACHE_VARIABLE}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UserError(f"{folder}: expected a folder that is this user's alone; name another by {CACHE_VARIABLE}")
    return folder


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


def file_name(name: str) -> str:
    """A file name of at most `LONGEST_NAME_BYTES` for any name, the same each time; different names stay different.

    >>> file_name("sca 0.5/seed 1")
    'sca%200.5%2Fseed%201'
    """
    quoted = quote(name, safe="=,+@()", errors="surrogatepass")
    if not quoted.strip("."):
        quoted = quoted.replace(".", "%2E") or "%"
    if len(quoted) <= LONGEST_NAME_BYTES:
        return quoted
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    end = f"%~{digest}"  # no quoted name has this in it
    return quoted[: LONGEST_NAME_BYTES - len(end)] + end


def write_whole(path: Path, data: bytes, *, elsewhere: str = ELSEWHERE) -> None:
    """Replace a file in one step; see `replacing`.

    Raises:
        UserError: it cannot be written; the message says why and what to do.
    """
    with replacing(path, elsewhere=elsewhere) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, *, elsewhere: str = ELSEWHERE) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of ``path`` when the block ends.

    Also if the machine stops in between, the old one stays or the new one is there. The new one has the old one's
    permissions; a first one those that the process gives to new files. A link is followed; a device or a pipe is
    written to as it is.

    Raises:
        UserError: it cannot be written; the message says why and what to do.
    """
    try:
        target = _resolved(path)
        if target.exists() and not (target.is_file() or target.is_dir()):
            with target.open("wb") as device:
                yield device
        else:
            with _draft_of(target) as file:
                yield file
    except OSError as error:
        raise cannot("write", path, error, elsewhere=elsewhere) from error


def publish_folder(draft: Path, folder: Path) -> None:
    """Give a folder of files its name once all of them are on the disk, also if the machine stops in between.

    Raises:
        OSError: a file cannot be written, or there is a folder of that name that is not empty.
    """
    for file in draft.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    _sync_folder(draft)
    draft.rename(folder)
    _sync_folder(folder.parent)


def remove_drafts(folder: Path) -> None:
    """Delete what writers that were killed have left in this folder; nobody else may be writing there."""
    for draft in folder.glob(f".*{DRAFT}"):
        with suppress(OSError):
            draft.unlink()


@contextmanager
def as_open_as(folder: Path) -> Iterator[None]:
    """Files and folders that this process makes in here are for those alone who may use ``folder``.

    It sets the umask, which holds for all threads of the process and for the processes that it starts.
    """
    others = stat.S_IRWXG | stat.S_IRWXO
    before = os.umask(others & ~folder.stat().st_mode)
    try:
        yield
    finally:
        os.umask(before)


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone may use; one that is there stays as open as it is."""
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)


def size_bytes(folder: Path) -> int:
    """The sum of the sizes of all files below a folder; those that cannot be seen count nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # what pathlib calls a circle of links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


@contextmanager
def _draft_of(path: Path) -> Iterator[IO[bytes]]:
    draft = path.parent / f".{secrets.token_hex(8)}{DRAFT}"
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            if path.is_file():
                draft.chmod(stat.S_IMODE(path.stat().st_mode))
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk too, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
