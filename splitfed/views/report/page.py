"""The page's templates, and the few kinds of things that they show."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from splitfed.records.grids import read_caption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


class PageRow(NamedTuple):
    """A row of a table: its texts, the first of which is its header, and its CSS class."""

    cells: Sequence[str]
    css: str = ""


class PageTable(NamedTuple):
    """A table of plain texts."""

    header: Sequence[str]
    rows: Sequence[PageRow]
    caption: str = ""


class PageImage(NamedTuple):
    """A PNG inside the page; its caption is its alternative text too."""

    caption: str
    source: str


def render(template: str, content: dict[str, Any]) -> str:
    """A page that asks for nothing from outside. Whatever is not marked as HTML is escaped; a name that a template
    misses is an error."""
    return _environment().get_template(template).render(content)


def image(path: Path) -> PageImage | None:
    """The picture in this file; None without a caption or if it is damaged."""
    try:
        caption, data = read_caption(path), path.read_bytes()
    except OSError:
        return None
    return PageImage(caption, f"data:image/png;base64,{base64.b64encode(data).decode()}") if caption else None


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
