"""Where each event of a log stands, so that any stretch of it is read again without keeping it in memory."""

from __future__ import annotations

import json
import math
import os
from array import array
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from splitfed.records import events
from splitfed.records.events import EVENTS, Event

CHUNK_BYTES = 4 << 20
"""That are read at a time."""
MOST_LINE_BYTES = 32 << 20
"""A line that is longer is no event."""
NEVER = -1
"""The key of an event that is never superseded."""
_NO_JSON = (b"NaN", b"Infinity")
"""What Python writes for numbers that are none, and no browser reads."""


class LogLine(NamedTuple):
    """One event of the log.

    Attributes:
        end: the offset after its line, by which a reader goes on.
        name: of the event.
        data: its JSON, for a browser.
        time_s: when it happened.
    """

    end: int
    name: str
    data: bytes
    time_s: float


class LogIndex:
    """An index of one `events.jsonl` that grows with it; not for use by several threads at a time.

    Args:
        path: the log; it may not exist yet, and it may vanish.
    """

    def __init__(self, path: Path) -> None:
        self.skipped = 0
        """Lines so far that are no event of this version."""
        self.generation = 0
        """Counts how often the log was replaced by a shorter one: offsets of an earlier one mean nothing."""
        self._path = path
        self._begin()

    def _begin(self) -> None:
        self.skipped = 0
        self._read_to = 0
        self._starts, self._ends = array("q"), array("q")
        self._times, self._keys = array("d"), array("l")
        self._key_numbers: dict[tuple[object, ...], int] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def catch_up(self) -> bool:
        """Take in what was added since; whether there was anything. A log that cannot be read has nothing new."""
        try:
            with self._path.open("rb", buffering=0) as log:
                size = os.fstat(log.fileno()).st_size
                if size < self._read_to:
                    self._begin()
                    self.generation += 1
                before = self._read_to
                while self._read_to < size and self._take_chunk(log.fileno(), size):
                    pass
                return self._read_to > before
        except OSError:
            return False

    def after(self, offset: int) -> int | None:
        """The number of the first event after this offset; None where no line ends there."""
        if offset == 0:
            return 0
        low, high = 0, len(self._ends)
        while low < high:
            middle = (low + high) // 2
            if self._ends[middle] < offset:
                low = middle + 1
            else:
                high = middle
        return low + 1 if low < len(self._ends) and self._ends[low] == offset else None

    def kept(self, start: int, stop: int) -> list[int]:
        """The events from ``start`` to before ``stop`` that no later one of these supersedes, in their order."""
        seen: set[int] = set()
        found = []
        for number in range(stop - 1, start - 1, -1):
            key = self._keys[number]
            if key == NEVER or key not in seen:
                seen.add(key)
                found.append(number)
        found.reverse()
        return found

    def read(self, numbers: list[int]) -> list[LogLine]:
        """These events, as they stand in the log now; those that cannot be read are left out."""
        found = []
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except OSError:
            return []
        try:
            for number in numbers:
                start, end = self._starts[number], self._ends[number]
                text = os.pread(descriptor, end - start, start)
                name = _name_of(text)
                if len(text) == end - start and name:
                    found.append(LogLine(end, name, for_browsers(text.rstrip(b"\n")), self._times[number]))
        finally:
            os.close(descriptor)
        return found

    def _take_chunk(self, descriptor: int, size: int) -> bool:
        """Take in the whole lines of the next chunk; False where the rest is one that is still being written."""
        wanted = CHUNK_BYTES
        while True:
            text = os.pread(descriptor, wanted, self._read_to)
            end = text.rfind(b"\n") + 1
            if end or self._read_to + len(text) >= size or not text:
                break
            if wanted > MOST_LINE_BYTES:
                self._pass_over(descriptor, size)
                return True
            wanted *= 2
        at = self._read_to
        for line in text[:end].split(b"\n")[:-1]:
            self._take_line(at, line + b"\n")
            at += len(line) + 1
        self._read_to = at
        return end > 0

    def _pass_over(self, descriptor: int, size: int) -> None:
        """Leave out a line that is too long to be one."""
        self.skipped += 1
        while self._read_to < size:
            text = os.pread(descriptor, CHUNK_BYTES, self._read_to)
            end = text.find(b"\n") + 1
            self._read_to += end or len(text)
            if end or not text:
                return

    def _take_line(self, start: int, line: bytes) -> None:
        try:
            event = EVENTS.read(line)
        except ValidationError:
            self.skipped += 1
            return
        self._starts.append(start)
        self._ends.append(start + len(line))
        self._times.append(event.time_s)
        key = superseding(event)
        self._keys.append(NEVER if key is None else self._key_numbers.setdefault(key, len(self._key_numbers)))


def superseding(event: Event) -> tuple[object, ...] | None:
    """What a later event has to share with this one to make it worthless to who comes late; None where none does."""
    match event:
        case events.ClientProgress():
            return (event.event, event.cell, event.client, event.round)
        case events.PrepareProgress():
            return (event.event, event.cell, event.what)
        case events.WireCounted():
            return (event.event, event.cell, event.round)
    return None


def for_browsers(line: bytes) -> bytes:
    """The same JSON on one line with null in place of numbers that are none."""
    if not any(word in line for word in _NO_JSON):
        return line
    return json.dumps(_finite(json.loads(line)), ensure_ascii=True, separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value


def _name_of(line: bytes) -> str:
    """The event's name, which stands first in its line; wherever it stands in one that somebody else wrote."""
    if line.startswith(_FIRST):
        return line[len(_FIRST) : line.index(b'"', len(_FIRST))].decode()
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError, TypeError):
        return ""


_FIRST = b'{"event":"'
