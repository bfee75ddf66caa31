"""From whoever emits an event to the record and to all who look on."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from splitfed.records.events import Event

Subscriber = Callable[[Event], None]


class Bus:
    """Hands each event to the record and to every subscriber, in one order, from whatever thread emits it.

    The record is what a run cannot do without, its log or the pipe to its parent: what that raises reaches whoever
    emits. A subscriber only looks on: one that raises is dropped, which standard error says once, and costs nobody
    anything. What a subscriber emits itself is handed on after the event that it is at.

    Args:
        subscribers: called with every event.
        record: called with every event before them.
    """

    def __init__(self, *subscribers: Subscriber, record: Subscriber | None = None) -> None:
        self._subscribers = list(subscribers)
        self._record = record
        self._lock = threading.RLock()  # not a plain lock: a subscriber may emit
        self._waiting: deque[Event] = deque()
        self._delivering = False

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have ``subscriber`` called with every event from now on."""
        with self._lock:
            self._subscribers.append(subscriber)

    def keep_record(self, record: Subscriber) -> None:
        """Have ``record`` called with every event from now on, before the subscribers."""
        with self._lock:
            self._record = record

    def emit(self, event: Event) -> None:
        """Hand ``event`` on.

        Raises:
            Exception: what the record raised.
        """
        with self._lock:
            self._waiting.append(event)
            if self._delivering:
                return  # a subscriber emits: the loop below, further up the stack, goes on with this event
            self._delivering = True
            try:
                while self._waiting:
                    self._deliver(self._waiting.popleft())
            finally:
                self._delivering = False
                self._waiting.clear()

    def _deliver(self, event: Event) -> None:
        if self._record is not None:
            self._record(event)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception as error:
                self._subscribers = [other for other in self._subscribers if other is not subscriber]
                _say_dropped(subscriber, event, error)


def _say_dropped(subscriber: Subscriber, event: Event, error: Exception) -> None:
    """Say on standard error which view is lost; with its traceback where that is not the fault of the machine."""
    name = getattr(subscriber, "__qualname__", type(subscriber).__qualname__)
    lines = [
        f"splitfed: {name} failed at {type(event).__name__} and hears no more of this run, which goes on "
        f"({type(error).__name__}: {error})\n"
    ]
    if not isinstance(error, OSError):
        lines += traceback.format_exception(error)
    with suppress(OSError, ValueError, AttributeError):  # standard error may be what is lost, or closed, or none
        sys.stderr.write("".join(lines))
        sys.stderr.flush()
