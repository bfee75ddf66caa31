"""Standard output and standard error at the edge: there, able to take every character, and free to lose their reader.

A run may take hours: what becomes of its text must not decide what becomes of its results.
"""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

LEGIBLE = "splitfed.legible"
"""The name of the error handler for characters that a stream's encoding lacks."""

_ALIKE = {
    "^": "↑▲",
    "v": "↓▼",
    "<": "←≤",
    ">": "→≥",
    "x": "×✗✘",
    "+": "✓✔┼╋╔╗╚╝╭╮╰╯┌┐└┘├┤┬┴╇╈┏┓┗┛┡┩",
    "-": "−–—─━═╴╶╸╺▃",
    "|": "│┃║╷╵╻╹",
    ".": "·…▂•",
    "_": "▁",
    "=": "▄",
    "o": "▅○●",
    "*": "★▆",
    "%": "▇▒",
    "#": "█▓▀",
    ":": "░",
    "~": "±≈",
    "'": "‘’",
    '"': "“”",
    "l": "λ",
    "s": "σ",
    "u": "μµ",
}
"""One character each, so that columns stay in line and curves keep their shape."""
_NEAREST = str.maketrans({character: plain for plain, alike in _ALIKE.items() for character in alike})


def prepare() -> None:
    """Have both streams take whatever is written to them, whatever the locale and whoever closed them."""
    _occupy_closed_descriptors()
    codecs.register_error(LEGIBLE, _legible)
    sys.stdout = sys.stdout or _opened(1)
    sys.stderr = sys.stderr or _opened(2)
    for stream in (sys.stdout, sys.stderr):
        _reconfigure(stream, errors=LEGIBLE)


def speak_utf8() -> None:
    """For what another program reads, in which every character counts."""
    for stream in (sys.stdout, sys.stderr):
        _reconfigure(stream, encoding="utf-8", errors="backslashreplace")


def complain(message: str) -> None:
    """One message on standard error, if anybody is there to read it."""
    with suppress(OSError):
        sys.stderr.write(f"splitfed: {message}\n")
        sys.stderr.flush()


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """What is printed in here is a courtesy: where nobody reads it any more, the program goes on."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop_unwritable()


def drop_unwritable() -> None:
    """Point a stream that cannot be written to nowhere, so that the interpreter's own last flush does not fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            with suppress(OSError, ValueError):  # a stream in memory has no descriptor
                os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _legible(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler: the nearest ASCII character for each that cannot be encoded; file names keep their bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in lacking):
        return lacking.encode("ascii", "surrogateescape"), error.end
    return "".join(map(_nearest, lacking)), error.end


def _nearest(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character.translate(_NEAREST))
    return plain.encode("ascii", "ignore").decode() or "?"


def _reconfigure(stream: IO[str], **settings: str) -> None:
    reconfigure = getattr(stream, "reconfigure", None)  # a notebook's stream has none, and needs none
    if reconfigure is not None:
        reconfigure(**settings)


def _occupy_closed_descriptors() -> None:
    """Let no file take the number of a standard stream that was closed: it would get that stream's text."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free: this one


def _opened(descriptor: int) -> IO[str]:
    return open(descriptor, "w", encoding="utf-8", closefd=False)
