"""`events.jsonl`: one event a line, in the order in which they happened."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from splitfed.errors import UserError
from splitfed.files import cannot
from splitfed.records.events import EVENTS, Event, Notice
from splitfed.records.record import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class EventLog:
    """The log of one run, open for reading and for adding to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def close(self) -> None:
        """Close the file; a later event opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, event: Event) -> None:
        """Add one line, whole or not at all, visible to readers at once.

        Raises:
            UserError: the disk is full, or the file cannot be written.
        """
        try:
            if self._file is None:
                _drop_unfinished_line(self._path)
                self._file = self._path.open("ab", buffering=0)
            _append(self._file, EVENTS.write(event))
        except OSError as error:
            resume = f"then go on with: splitfed scenario --resume {self._path.parent}"
            raise UserError(f"{cannot('write', self._path, error)}; {resume}") from error

    def read(self) -> Iterator[Event]:
        """All events so far; a last line that is still being written (or was cut off) is left out.

        So is a line that is no event of this version: a warning at the end says how many there were.
        """
        if not self._path.is_file():
            return
        left_out: list[str] = []
        latest_s = 0.0
        with self._path.open("rb") as log:
            for number, line in enumerate(log, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    event = EVENTS.read(line)
                except ValidationError as error:
                    left_out.append(f"line {number} is no event of this version of splitfed ({faults(error)[0]})")
                else:
                    latest_s = event.time_s
                    yield event
        if left_out:
            others = f", and {len(left_out) - 1:,} more" if len(left_out) > 1 else ""
            yield Notice(message=f"{self._path}: {left_out[0]}{others}: left out", time_s=latest_s)


def _append(log: IO[bytes], line: bytes) -> None:
    """Add a line to an unbuffered file; where there is room for a part of it only, take that back."""
    written = 0
    try:
        while written < len(line):
            written += log.write(line[written:])
    except OSError:
        with suppress(OSError):
            log.truncate(log.seek(0, os.SEEK_END) - written)
        raise


def _drop_unfinished_line(path: Path) -> None:
    """Cut what a killed run left after the last complete line, so that new events start on their own line."""
    if not path.is_file():
        return
    text = path.read_bytes()
    end = text.rfind(b"\n") + 1
    if end < len(text):
        os.truncate(path, end)
