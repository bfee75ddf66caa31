"""How a role runs: until it is told to stop, and no longer than ten seconds after."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from splitfed.errors import SplitfedError
from splitfed.stopping import StopSignals

logger = logging.getLogger(__name__)


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
