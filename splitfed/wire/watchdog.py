"""Ends what takes too long."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 1.0
"""Between two looks at whether all is being stopped."""


class Watchdog:
    """Calls ``expire`` when a limit has passed while it was armed.

    Arming costs one assignment, so that every step of a stream can have a deadline. The thread behind it looks
    again when the deadline is due, and at least every ``shortest_s``: whatever is armed meanwhile is due later.

    Args:
        shortest_s: the shortest limit that it is armed with.
        expire: called once, from the watchdog's thread.
        stopped: where given, asked every second: once true, what is armed has expired.
    """

    def __init__(
        self, shortest_s: float, expire: Callable[[], object], stopped: Callable[[], bool] | None = None
    ) -> None:
        self._shortest_s = shortest_s if stopped is None else min(shortest_s, LOOK_S)
        self._expire = expire
        self._stopped = stopped or (lambda: False)
        self._due_at = math.inf
        self._closed = threading.Event()
        self.expired = False
        threading.Thread(target=self._watch, name="splitfed-watchdog", daemon=True).start()

    def arm(self, limit_s: float) -> None:
        """Expire in ``limit_s``, unless armed or disarmed again before."""
        self._due_at = time.monotonic() + limit_s

    def disarm(self) -> None:
        """The time does not run."""
        self._due_at = math.inf

    def close(self) -> None:
        """Never expire any more."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(min(self._remaining_s(), self._shortest_s)):
            if self._remaining_s() <= 0 or (self._stopped() and self._due_at < math.inf):
                self.expired = True
                self._expire()
                return

    def _remaining_s(self) -> float:
        return self._due_at - time.monotonic()
