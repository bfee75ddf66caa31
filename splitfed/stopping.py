"""How a process is told to stop: by a signal, or because the one that started it is gone."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

from splitfed.errors import UserError

GRACE_S = 8.0
"""How long the work under way may take to come to a point where it can stop. Then the process ends in the midst of
it: files are replaced in one piece, and readers of observations pass over a record that was cut."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While it is entered, SIGTERM and SIGINT ask the work to stop, and after a grace end the process; a second one
    ends it at once. Enter it in the main thread, and keep that free: only there does Python hear signals.

    Attributes:
        asked: set once the work is to stop.
        signal: which one asked for it.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.signal: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def follow(self, pipe: int) -> None:
        """Stop when the other end of this pipe closes: whoever holds it is gone, or wants no more.

        Raises:
            UserError: there is no such file descriptor.
        """
        try:
            os.fstat(pipe)
        except OSError:
            raise UserError(
                f"--ends-with {pipe}: no file is open under that number; leave it out to run the role by itself"
            ) from None
        threading.Thread(target=self._follow, args=(pipe,), daemon=True, name="parent").start()

    def ask(self) -> None:
        """Ask the work to stop, and end the process where it has not by the end of the grace."""
        self.asked.set()
        timer = threading.Timer(GRACE_S, self.cut)
        timer.daemon = True
        timer.start()

    def closed(self) -> None:
        """What becomes of this process once the other end of the pipe has closed."""
        self.ask()

    def cut(self) -> None:
        """End the process in the midst of its work."""
        os._exit(0)

    def _follow(self, pipe: int) -> None:
        # not through sys.stdin, whose lock a thread that waits for input would hold when Python ends
        with suppress(OSError):  # broken is as good as closed
            while os.read(pipe, 1):
                pass
        self.closed()

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.asked.is_set():
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        self.ask()
