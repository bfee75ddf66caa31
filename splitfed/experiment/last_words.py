"""Why a process ended, in words: its exit status, and what of its log says most."""

from __future__ import annotations

import re
import signal
from itertools import takewhile

MOST_LINES = 6
"""Of a message; the rest is in the log."""

_FRAME = re.compile(r"\s+\S|Traceback \(|During handling|The above exception")
"""What a traceback consists of beside its exceptions."""

_THREADS = ("Traceback (", "Current thread", "Thread 0x", "Extension modules", "Stack (")
"""How what each thread was doing begins, after a fatal error."""


def exit_in_words(returncode: int) -> str:
    """How a process ended, as `subprocess` counts: the status it exited with, or less the signal that killed it.

    >>> exit_in_words(2), exit_in_words(-9)
    ('exit status 2', 'SIGKILL')
    """
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def last_words(log: str) -> str:
    """What the end of this standard error says: a message to the user, an exception, a fatal error, or its last line.

    Empty where it says nothing.
    """
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    for find in (_fatal, _message, _exception):
        found = find(lines)
        if found:
            return _shortened(found)
    return _shortened(lines[-1:])


def _fatal(lines: list[str]) -> list[str]:
    """Python's own "Fatal Python error", with the exception or the place that follows it."""
    at = _last(lines, "Fatal Python error")
    if at is None:
        return []
    first = takewhile(lambda line: not line.startswith(_THREADS), lines[at:])
    said = [line for line in first if not line.startswith("Python runtime state")]
    place = [line for line in lines[at:] if line.startswith("  File ")]
    return said + (_exception(lines[at:]) or place[:1])


def _message(lines: list[str]) -> list[str]:
    """What the command line told the user, to its end."""
    at = _last(lines, "splitfed: ")
    if at is None or _exception(lines[at + 1 :]):
        return []
    return [lines[at].removeprefix("splitfed: "), *lines[at + 1 :]]


def _exception(lines: list[str]) -> list[str]:
    """The exception of the last traceback, unless it was raised where nobody could catch it, as when Python ends."""
    starts = [at for at, line in enumerate(lines) if line.startswith("Traceback (")]
    uncaught = [at for at in starts if at == 0 or not lines[at - 1].startswith("Exception ignored")]
    if not uncaught:
        return []
    at = next((at for at in range(uncaught[-1] + 1, len(lines)) if not _FRAME.match(lines[at])), None)
    if at is None:
        return []
    following = next((n for n in range(at + 1, len(lines)) if not lines[n].startswith((" ", "\t"))), len(lines))
    return lines[at:following]


def _last(lines: list[str], start: str) -> int | None:
    return max((at for at, line in enumerate(lines) if line.startswith(start)), default=None)


def _shortened(lines: list[str]) -> str:
    cut = [*lines[:MOST_LINES], "..."] if len(lines) > MOST_LINES else lines
    return "; ".join(line.strip() for line in cut)
