"""Ends what takes too long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Watchdog:
    """Calls ``expire`` when nothing has been heard for ``limit_s`` while it was armed.

    Arming costs one assignment, so that every step of a stream can have a deadline. The thread behind it sleeps
    until the deadline, or for ``limit_s`` while unarmed: whatever is armed meanwhile is due later than that.
    """

    def __init__(self, limit_s: float, expire: Callable[[], object]) -> None:
        self._limit_s = limit_s
        self._expire = expire
        self._armed_at: float | None = None
        self._closed = threading.Event()
        self.expired = False
        threading.Thread(target=self._watch, name="splitfed-watchdog", daemon=True).start()

    def arm(self) -> None:
        """The time runs from now."""
        self._armed_at = time.monotonic()

    def disarm(self) -> None:
        """The time does not run."""
        self._armed_at = None

    def close(self) -> None:
        """Never expire any more."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._remaining_s()):
            if self._remaining_s() <= 0:
                self.expired = True
                self._expire()
                return

    def _remaining_s(self) -> float:
        armed_at = self._armed_at
        return self._limit_s if armed_at is None else armed_at + self._limit_s - time.monotonic()
