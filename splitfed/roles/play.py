"""How a role runs: until it is told to stop, and no longer than ten seconds after."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType

from splitfed.errors import SplitfedError, UserError

logger = logging.getLogger(__name__)

GRACE_S = 8.0
"""How long the work under way may take to come to an end, once it is told to."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While it is entered, SIGTERM and SIGINT set `asked`; whoever is not through after a grace is cut off. Files are
    replaced in one piece, so that nothing is lost to that but the work under way.

    Enter it in the main thread, and keep that free: only there does Python hear signals.

    Attributes:
        asked: set once the role is to stop.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __enter__(self) -> StopSignals:
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

    def _follow(self, pipe: int) -> None:
        with suppress(OSError):  # broken is as good as closed
            while os.read(pipe, 1):
                pass
        self._ask()

    def _ask(self) -> None:
        self.asked.set()
        timer = threading.Timer(GRACE_S, os._exit, args=(0,))
        timer.daemon = True
        timer.start()

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.asked.is_set():
            os._exit(128 + number)
        self._ask()


def until_stopped(work: Callable[[threading.Event], None], *, ends_with: int | None = None) -> int:
    """Do this work in a thread until it ends or the process is told to stop; the exit code.

    Args:
        work: gets the event that says that it is to stop.
        ends_with: the descriptor of a pipe whose other end is held by the process that started this one: when that
            closes, the role stops.

    Raises:
        SplitfedError: what the work raised.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work(stopping.asked)
        except BaseException as error:
            raised.append(error)

    with StopSignals() as stopping:
        if ends_with is not None:
            stopping.follow(ends_with)
        thread = threading.Thread(target=run, name="role", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.5)  # in slices, so that signals are heard
    for error in raised:
        if isinstance(error, SplitfedError | OSError):
            raise error
        raise SplitfedError(f"the role ended: {type(error).__name__}: {error}") from error
    logger.info("stopped")
    return 0
