"""What there is of a kind, a line each: in columns on a terminal, whole lines for what reads on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from splitfed.views.terminal.console import ViewConsole

if TYPE_CHECKING:
    from collections.abc import Sequence


def show(rows: Sequence[tuple[str, str]]) -> None:
    """Print names with what there is to say about them; long texts are broken on a terminal alone."""
    console = ViewConsole()
    if console.is_terminal:
        console.print(_table(rows))
        return
    width = max((len(name) for name, _ in rows), default=0)
    sys.stdout.writelines(f"{name:<{width}}  {about}\n" for name, about in rows)


def _table(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, about in rows:
        table.add_row(Text(name, style="bold"), Text(about))
    return table
