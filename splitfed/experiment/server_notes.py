"""What a curious server keeps of the activations that it is sent: `attacker.vantage = "server"`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from splitfed.files import cannot
from splitfed.types import Observation
from splitfed.wire.observations import ObservationWriter


class ServerNotes:
    """Records observations, from several threads, where the attacker's process finds them.

    Where they cannot be written it is the attacker's loss: training goes on, and the cell is INVALID for want of them.

    Args:
        folder: where to.
        keep_rounds: see `ObservationWriter`.
        notice: gets a sentence for the user, once, when nothing more is recorded.
    """

    def __init__(self, folder: Path, keep_rounds: int | None, notice: Callable[[str], None]) -> None:
        self._folder = folder
        self._keep_rounds = keep_rounds
        self._notice = notice
        self._lock = threading.Lock()
        self._writer: ObservationWriter | None = None
        self._lost = False

    def __call__(self, observation: Observation) -> None:
        """Record one, in its turn."""
        with self._lock:
            if self._lost:
                return
            try:
                if self._writer is None:
                    self._writer = ObservationWriter(self._folder, keep_rounds=self._keep_rounds)
                self._writer(observation)
            except OSError as error:
                self._lost = True
                why = cannot("record in", self._folder, error)
                self._notice(f"{why}. The server keeps nothing more; training goes on")

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
