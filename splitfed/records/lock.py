"""One writer at a time for a run directory: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from splitfed.errors import UserError
from splitfed.files import cannot
from splitfed.records.record import Record, of_json, to_json

_WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_MOST_BYTES = 4096
_SHARED_S = 0.2
"""How long who wants the lock waits for who only looks whether it is held."""


class LockHolder(Record):
    """Who holds a lock: the number of its process on this host, and since when (ISO 8601)."""

    pid: int
    host: str
    since: str


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of the folder in which this file lies, or is made; who holds it stands in the file.

    Yields whether it is held: not every file system has locks. The file stays, as another process may be waiting to
    open it.

    Raises:
        UserError: another process holds it; the message says which, or the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise cannot("write", path, error) from error
    try:
        yield _lock(descriptor, path.parent)
    finally:
        os.close(descriptor)  # ends the lock; processes that are started meanwhile do not inherit it


def _lock(descriptor: int, folder: Path) -> bool:
    try:
        _take(descriptor)
    except BlockingIOError:
        raise UserError(
            f"{folder} is in use by {_holder(descriptor)}: wait until that has ended, or end it. Reading is free: "
            f"splitfed report {folder}"
        ) from None
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return False
    since = datetime.now().astimezone().isoformat("T", "seconds")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, to_json(LockHolder(pid=os.getpid(), host=platform.node(), since=since)), 0)
    return True


def _take(descriptor: int) -> None:
    """Take the lock, from whoever only looks at it too.

    Raises:
        BlockingIOError: somebody keeps it.
    """
    deadline = time.monotonic() + _SHARED_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_SHARED_S / 20)


def _holder(descriptor: int) -> str:
    """Who holds the lock, in words."""
    try:
        holder = of_json(TypeAdapter(LockHolder), os.pread(descriptor, _MOST_BYTES, 0))
    except ValidationError:
        return "another process"  # which has only just begun
    return f"process {holder.pid} on {holder.host} since {holder.since}"


def is_held(path: Path) -> bool:
    """Whether a process holds the lock with this file; no on a file system without locks.

    It looks by taking a share of the lock for a moment, for which who wants the lock waits (`_SHARED_S`).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
