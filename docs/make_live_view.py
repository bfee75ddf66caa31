"""Draw the picture of the live view in the README from a recorded run: an SVG of one moment of it.

    python docs/make_live_view.py runs/medmnist_split-... [--cell NAME] [--out docs/live_view.svg]

The moment is the last report of an attack that came with a strip, in the named cell (the last one otherwise).
"""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

from rich.console import Console

from splitfed.errors import UserError
from splitfed.records import events
from splitfed.records.store import RunStore
from splitfed.views.terminal.live import LiveView


def main() -> None:
    """Parse, replay, draw, write."""
    parser = argparse.ArgumentParser(description="draw the live view of a recorded run as SVG")
    parser.add_argument("run", type=Path)
    parser.add_argument("--cell")
    parser.add_argument("--width", type=int, default=100, help="columns of the terminal")
    parser.add_argument("--height", type=int, default=44, help="lines of the terminal")
    parser.add_argument("--out", type=Path, default=Path("docs/live_view.svg"))
    options = parser.parse_args()
    shown = moment(list(RunStore.open(options.run).read_events()), options.cell)
    options.out.write_text(draw(shown, options.run, options.width, options.height), encoding="utf-8")


def moment(listed: list[events.Event], cell: str | None = None) -> list[events.Event]:
    """The events up to the last report with a strip, in ``cell`` if one is named.

    Raises:
        UserError: there is no such report.
    """
    reports = [
        place
        for place, event in enumerate(listed)
        if isinstance(event, events.AttackProgress) and event.strip and cell in (None, event.cell)
    ]
    if not reports:
        raise UserError(f"this run recorded no strip{f' of cell {cell!r}' if cell else ''}: nothing to draw")
    return listed[: reports[-1] + 1]


def draw(listed: list[events.Event], run_dir: Path, width: int, height: int) -> str:
    """The live view after these events, as SVG that asks for nothing from outside."""
    console = Console(
        width=width, height=height, file=io.StringIO(), record=True, force_terminal=True, color_system="truecolor"
    )
    view = LiveView(console, clock=lambda: listed[-1].time_s)
    scenario = ""
    for event in listed:
        if isinstance(event, events.RunStarted):
            scenario = event.scenario
            event = event.model_copy(update={"run_dir": str(run_dir)})  # the run may have been moved since
        view(event)
    console.print(view.frame())
    svg = console.export_svg(title=f"splitfed scenario {scenario}")
    return re.sub(r"@font-face \{[^}]*\}\s*", "", svg)  # rich names web fonts; the reader's monospace will do


if __name__ == "__main__":
    main()
