"""Signals to another process: killed, frozen, or starved."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

STOPPED_S, FED_S = 0.09, 0.01
"""How long a starved process is stopped, and how long it then runs, in turn."""


class Victim:
    """A process that is struck.

    Args:
        pid: its number.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()

    def strike(self, how: str) -> None:
        """Do to it what a fault of this name does: "... is killed", "... is frozen", "... starves"."""
        if how.endswith("starves"):
            threading.Thread(target=self._starve, name="faults-starve", daemon=True).start()
        else:
            self._send(signal.SIGSTOP if how.endswith("is frozen") else signal.SIGKILL)

    def let_go(self) -> None:
        """Let it go on, so that it can be ended."""
        self._over.set()
        self._send(signal.SIGCONT)

    def _starve(self) -> None:
        while not self._over.is_set():
            self._send(signal.SIGSTOP)
            time.sleep(STOPPED_S)
            self._send(signal.SIGCONT)
            time.sleep(FED_S)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)
