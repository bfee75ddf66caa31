"""The live view in a terminal: a run while it happens, drawn anew a few times a second."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.live import Live
from rich.text import Text

from splitfed.records.events import AttackProgress, CellStarted
from splitfed.records.strips import load_strip
from splitfed.views.progress import RunState
from splitfed.views.terminal import panels
from splitfed.views.terminal.console import ViewConsole
from splitfed.views.terminal.half_blocks import StripPicture
from splitfed.views.terminal.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from splitfed.records.events import Event
    from splitfed.records.strips import Canvas
    from splitfed.views.progress import CellState

REFRESH_PER_S = 3
STRIP_ROWS_MIN = 8
"""Below this a pair cannot be made out; the strip is left away in terminals that are too low for it."""
STRIP_ROWS_MAX = 28


class Choice(NamedTuple):
    """What somebody chose to see by key: names, each None to follow the run."""

    cell: str | None = None
    attack: str | None = None


class Frame:
    """What the live view shows at one moment, sized to the terminal that it is drawn in."""

    def __init__(
        self,
        run: RunState,
        strip: tuple[Canvas, int] | None,
        now_s: float,
        choice: Choice = Choice(),  # noqa: B008 - it does not change
        *,
        keys: bool = False,
    ) -> None:
        self._run = run
        self._strip = strip
        self._now_s = now_s
        self._choice = choice
        self._cell = shown_cell(run, choice)
        self._keys = keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the figures, and the strip in the lines that are left; in a low terminal the figures shrink for it."""
        height = options.height or console.height
        for compact in (False, True):
            above, below = list(self._above(options.max_width, compact)), list(self._below(compact))
            lines = len(console.render_lines(Group(*above, *below), options))
            strip_rows = height - lines - 3  # a blank line, the caption, and one for the cursor
            if self._strip is None or strip_rows >= STRIP_ROWS_MIN:
                break
        yield from above
        yield from self._picture(strip_rows)
        yield from below

    def _above(self, width: int, compact: bool) -> Iterator[RenderableType]:
        yield from panels.header(self._run, self._now_s)
        cell = self._cell
        if cell is None:
            if self._run.loading is not None:
                yield panels.preparation_bar(self._run.loading, width)
            return
        if self._choice.cell is not None:
            yield panels.chosen_line(cell)
        yield panels.cell_bar(cell, width)
        if cell.rounds:
            yield panels.rounds_line(cell)
        gap = [] if compact else [Text("")]
        if cell.clients:
            yield from gap
            yield panels.clients_line(cell) if compact else panels.clients_table(cell, width)
        if cell.attacks:
            yield from gap
            yield panels.attacks_table(cell, width)

    def _picture(self, rows: int) -> Iterator[RenderableType]:
        cell = self._cell
        if cell is None or self._strip is None or rows < STRIP_ROWS_MIN:
            return
        strip, tile_px = self._strip
        yield Text("")
        yield panels.strip_caption(cell.strip_of(self._choice.attack))
        yield StripPicture(strip, tile_px, max_rows=min(rows, STRIP_ROWS_MAX))

    def _below(self, compact: bool) -> Iterator[RenderableType]:
        if self._run.results:
            if not compact:
                yield Text("")
            yield panels.finished_table(self._run)
        yield from panels.notices(self._run)
        if self._keys and self._run.cells:
            yield panels.keys_line()


def shown_cell(run: RunState, choice: Choice) -> CellState | None:
    """The cell that is shown: the chosen one, else the one under way."""
    return run.cells.get(choice.cell) if choice.cell is not None else run.current


class LiveView:
    """A subscriber of `records.bus.Bus` that shows the run in a terminal; a context manager.

    The frame disappears at the end, warnings and banners stay. The final table is the caller's to print. Keys choose
    what is shown: `c` the next cell, `a` the next attack, `f` what the run is at.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._console = console or ViewConsole()
        self._clock = clock
        self._run = RunState()
        self._choice = Choice()
        self._keys = Keys(self.press)
        self._strip: tuple[Canvas, int] | None = None
        self._strip_of: AttackProgress | None = None
        self._lock = threading.Lock()  # events come from the run's threads, frames are drawn by rich's
        self._live = _Screen(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=REFRESH_PER_S,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        self._keys.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Take in one event; the next frame shows it."""
        with self._lock:
            self._run.apply(event)
            if isinstance(event, CellStarted) and self._choice.cell is None:
                self._strip = self._strip_of = None
            elif isinstance(event, AttackProgress):
                self._load_strip()

    def press(self, key: str) -> None:
        """Show what this key stands for; other keys do nothing."""
        with self._lock:
            cell = shown_cell(self._run, self._choice)
            if key == "c":
                self._choice = Choice(_after(list(self._run.cells), cell.started.cell if cell else None))
            elif key == "a" and cell is not None:
                shown = cell.strip_of(self._choice.attack)
                with_strip = [name for name, attack in cell.attacks.items() if attack.latest.strip is not None]
                self._choice = self._choice._replace(attack=_after(with_strip, shown.attack if shown else None))
            elif key == "f":
                self._choice = Choice()
            else:
                return
            self._strip = self._strip_of = None
            self._load_strip()

    def close(self) -> None:
        """Take the frame away and leave the warnings and banners."""
        self._keys.__exit__(None, None, None)
        with suppress(OSError):  # the terminal may be gone
            self._live.stop()
            for notice in self._run.notices:
                if notice.level != "info":
                    self._console.print(Text(f"{notice.level}: {notice.message}", style="bold red"))

    def frame(self) -> Frame:
        """What is shown now."""
        return Frame(self._run, self._strip, self._clock(), self._choice, keys=self._keys.there)

    def _draw(self) -> RenderableType:
        # drawn to lines under the lock, so that no event changes the run half way through a frame
        with self._lock:
            return _Drawn(self._console, self.frame())

    def _load_strip(self) -> None:
        started, cell = self._run.started, shown_cell(self._run, self._choice)
        report = cell.strip_of(self._choice.attack) if cell else None
        if started is None or report is None or report.strip is None or report is self._strip_of:
            return
        self._strip_of = report
        picture = load_strip(Path(started.run_dir) / report.strip)
        if picture is not None and 0 < report.strip_tile <= picture.shape[1]:  # else the last good strip stays
            self._strip = picture, report.strip_tile


def _after(names: list[str], name: str | None) -> str | None:
    """The name after this one, the first after the last; None where there is none."""
    if not names:
        return None
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]


class _Screen(Live):
    """Where the frames go. A terminal that was closed is drawn to no more, and the run goes on without it."""

    _gone = False

    def refresh(self) -> None:
        """Draw the present frame."""
        if self._gone:
            return
        try:
            super().refresh()
        except OSError:
            self._gone = True


class _Drawn:
    """A frame that has been drawn already."""

    def __init__(self, console: Console, frame: Frame) -> None:
        self._lines = console.render_lines(frame, pad=False, new_lines=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console, options
        for line in self._lines:
            yield from line
