"""How the attacker's process ends before its attacks are done: by a signal, or with the process that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType

from splitfed.errors import UserError

GRACE_S = 8.0
"""How long the work under way may take to come to a point where it can stop. Then the process ends in the midst of
it: files are replaced in one piece, and readers of observations pass over a record that was cut."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """While it is entered, SIGTERM and SIGINT ask the work to stop, and after a grace end the process; a second one
    ends it at once. Enter it in the main thread, and keep that free: only there does Python hear signals.

    Attributes:
        asked: set once the work is to stop.
        signal: which one asked for it.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.signal: signal.Signals | None = None

    def __enter__(self) -> Ending:
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that this signal ended; 0 where there was none."""
        return 128 + self.signal if self.signal else 0

    def follow(self, pipe: int) -> None:
        """End the process at once when the other end of this pipe closes: whoever holds it is gone or wants no more.

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

    def _follow(self, pipe: int) -> None:
        # not through sys.stdin, whose lock a thread that waits for input would hold when Python ends
        with suppress(OSError):  # broken is as good as closed
            while os.read(pipe, 1):
                pass
        os._exit(0)

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        self.asked.set()
        timer = threading.Timer(GRACE_S, self._cut)
        timer.daemon = True
        timer.start()

    def _cut(self) -> None:
        sys.stderr.write(f"{self.account()}, in the midst of its work\n")
        sys.stderr.flush()
        os._exit(self.exit_code)

    def account(self) -> str:
        """What the user is told."""
        assert self.signal is not None
        return f"splitfed: the attacker was ended by {self.signal.name} before its attacks were done"
