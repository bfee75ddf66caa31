"""No run may hang: what takes too long is told with where each thread stands."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class HangError(Exception):
    """Something was not over in time; the message has the stack of each thread."""


def within(limit_s: float, work: Callable[[], T]) -> T:
    """What `work` gives, where it is over in time.

    Raises:
        HangError: it is not; its thread is left behind.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="faults-run", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        raise HangError(f"not over within {limit_s:g} s\n{stacks()}")
    if errors:
        raise errors[0]
    return results[0]


def stacks() -> str:
    """Where each thread of this process stands."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames().items()
    return "\n".join(f"{names.get(at, at)}:\n{''.join(traceback.format_stack(frame))}" for at, frame in frames)
