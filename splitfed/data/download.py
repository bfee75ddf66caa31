"""Files from the network: checked, written whole or not at all, and never waited for without end."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from splitfed.data.source import Progress, Unavailable
from splitfed.errors import DataError

BLOCK_BYTES = 1 << 16
Result = TypeVar("Result")


@dataclass(frozen=True)
class Deadlines:
    """How long to wait, in seconds: for a first answer, between two blocks, for the whole file."""

    answer_s: float = 15
    stall_s: float = 30
    total_s: float = 1800


@dataclass(frozen=True)
class Download:
    """One file: where it goes below a root, from which mirrors, and its published checksum."""

    file: str
    urls: tuple[str, ...]
    md5: str


def download(wanted: Download, root: Path, on_progress: Progress, deadlines: Deadlines | None = None) -> Path:
    """The file below ``root``, from the first mirror that delivers it whole.

    Raises:
        Unavailable: no mirror did; the message says what each one did instead.
        DataError: the file cannot be written.
    """
    limits = deadlines or Deadlines()
    target = root / wanted.file
    failures = []
    for url in wanted.urls:
        try:
            _fetch_to(url, target, wanted.md5, on_progress, limits)
        except _MirrorError as failure:
            failures.append(f"{url}: {failure}")
        else:
            return target
    raise Unavailable("download failed: " + "; ".join(failures))


class _MirrorError(Exception):
    """One mirror did not deliver."""


def _fetch_to(url: str, target: Path, md5: str, on_progress: Progress, limits: Deadlines) -> None:
    """Download to a temporary file beside the target and rename it once its checksum is right."""
    partial: Path | None = None
    try:
        with _open(url, limits) as response:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
            except OSError as error:
                raise DataError(f"cannot write to {target.parent}: {error.strerror}; name another folder") from error
            partial = Path(name)
            with os.fdopen(handle, "wb") as file:
                found = _copy(response, file, target.name, on_progress, limits)
                file.flush()
                os.fsync(file.fileno())
        if found != md5:
            raise _MirrorError(f"expected md5 {md5}, got {found}")
        partial.replace(target)
    except urllib.error.HTTPError as error:
        error.close()  # it is also the response, with an open socket
        raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(str(error) or type(error).__name__) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _open(url: str, limits: Deadlines) -> http.client.HTTPResponse:
    # In a thread of its own, because a socket's timeout covers neither the name look-up nor slow headers.
    response: Any = _within(limits.answer_s, lambda: urllib.request.urlopen(url, timeout=limits.stall_s))
    assert isinstance(response, http.client.HTTPResponse)
    return response


def _copy(
    response: http.client.HTTPResponse, file: IO[bytes], what: str, on_progress: Progress, limits: Deadlines
) -> str:
    """Copy the body; returns its md5."""
    digest, done, end_s = hashlib.md5(usedforsecurity=False), 0, time.monotonic() + limits.total_s
    total = int(response.headers.get("Content-Length") or 0)
    while block := response.read1(BLOCK_BYTES):
        if time.monotonic() > end_s:
            raise TimeoutError(f"not finished after {limits.total_s:g} s")
        file.write(block)
        digest.update(block)
        done += len(block)
        on_progress(f"downloading {what}", done, max(total, done))
    return digest.hexdigest()


def _within(limit_s: float, call: Callable[[], Result]) -> Result:
    """What ``call`` returns or raises, or TimeoutError after ``limit_s``; the call is then left behind."""
    outcome: list[Result | Exception] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    if not outcome:
        raise TimeoutError(f"no answer within {limit_s:g} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
