"""The console of every view: rich's, but whoever prints learns that nobody reads any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import TaskID

RULED_HEAD = box.Box(str(box.SIMPLE_HEAD), ascii=True)
"""A rule beneath the header and nothing else. ``ascii``, so that rich does not put a box of ``+`` and ``|`` in its
place where the encoding is small: what a stream cannot encode, `splitfed.cli.output` replaces."""


class ViewConsole(Console):
    """Rich's own console ends the whole process where its reader left; a run must not end for that."""

    def on_broken_pipe(self) -> None:
        """Called while a `BrokenPipeError` is handled: let it through."""
        raise


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Takes (what, done, total) and shows a bar on standard error for each; nothing where that is no terminal."""
    from rich.progress import Progress

    console = ViewConsole(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show
