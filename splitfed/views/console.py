"""The console of every view: rich's, but whoever prints learns that nobody reads any more."""

from __future__ import annotations

from rich import box
from rich.console import Console

RULED_HEAD = box.Box(str(box.SIMPLE_HEAD), ascii=True)
"""A rule beneath the header and nothing else. ``ascii``, so that rich does not put a box of ``+`` and ``|`` in its
place where the encoding is small: what a stream cannot encode, `splitfed.output` replaces."""


class ViewConsole(Console):
    """Rich's own console ends the whole process where its reader left; a run must not end for that."""

    def on_broken_pipe(self) -> None:
        """Called while a `BrokenPipeError` is handled: let it through."""
        raise
