"""A self-contained HTML page: its look, and the few elements a report is made of."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from splitfed.records.grids import read_caption

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c1e21; --soft: #5b6168; --line: #d9dde1;
  --alarm: #b3261e; --on-alarm: #fff; --good: #1b6e3c;
  --c0: #0067a5; --c1: #c24a00; --c2: #00795a; --c3: #a8407c; --c4: #8a6500; --c5: #4b5f9e; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e8ea; --soft: #a0a7af; --line: #363b41;
  --alarm: #c93a32; --on-alarm: #fff; --good: #6fcf97;
  --c0: #5fb4ec; --c1: #ff9a5c; --c2: #4ecba0; --c3: #ec92c2; --c4: #e2b93b; --c5: #a3b4f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { margin: 0; font-size: 1.9rem; } h2 { margin: 2.5rem 0 .5rem; font-size: 1.25rem; }
p { margin: .5rem 0; max-width: 46rem; } .sub, figcaption, caption, .dim td, .dim th { color: var(--soft); }
.banner { margin: 1rem 0; padding: .8rem 1rem; border-radius: .4rem; background: var(--alarm); color: var(--on-alarm);
  font-weight: 700; max-width: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; font-size: .94rem; }
caption { caption-side: bottom; text-align: left; padding-top: .6rem; font-size: .88rem; }
th, td { padding: .4rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { white-space: normal; }
th:first-child, td:first-child, .left { text-align: left; } thead th { vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 600; } .dim th { font-weight: 400; font-style: italic; }
.invalid th, .invalid td, .failed { color: var(--alarm); font-weight: 700; } .passed { color: var(--good); }
@media (prefers-color-scheme: dark) { .invalid th, .invalid td, .failed { color: #ff8a80; } }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
.charts { display: grid; gap: 0 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
.charts figure:first-child { grid-column: 1 / -1; max-width: 48rem; }
figure { margin: 1.2rem 0; } figure img { max-width: 100%; border-radius: .3rem; image-rendering: pixelated; }
figcaption { font-size: .88rem; max-width: 46rem; }
details { margin: .5rem 0; } summary { cursor: pointer; } pre { overflow-x: auto; font-size: .82rem; padding: .8rem;
  border: 1px solid var(--line); border-radius: .4rem; }
svg { width: 100%; height: auto; font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg text { fill: var(--soft); } svg .axis { fill: var(--ink); } svg .label { font-weight: 600; fill: var(--c); }
.grid { stroke: var(--line); } .rule { stroke: var(--soft); stroke-dasharray: 3 3; }
.frontier { stroke: var(--soft); stroke-width: 1.5; fill: none; }
.curve { stroke: var(--c); stroke-width: 2; fill: none; } .mark { fill: var(--c); }
.hollow { fill: var(--paper); stroke: var(--c); stroke-width: 2; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
@media print { body { max-width: none; padding: 0; } details > * { display: block; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document that asks for nothing from outside."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'  # else a browser asks a server for one
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def element(name: str, content: str, **attributes: str) -> str:
    """An element around ``content``, which is HTML already; ``class_`` gives its class."""
    shown = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return f"<{name}{shown}>{content}</{name}>"


def paragraph(text: str, **attributes: str) -> str:
    """A paragraph of plain text."""
    return element("p", escape(text), **attributes)


def section(title: str, *content: str) -> str:
    """A section with a heading; nothing if there is nothing in it."""
    inner = "\n".join(part for part in content if part)
    return f"<section>{element('h2', escape(title))}\n{inner}\n</section>" if inner else ""


def bullet_list(items: Sequence[str]) -> str:
    """A list of plain texts; nothing without items."""
    return element("ul", "".join(element("li", escape(item)) for item in items)) if items else ""


def table(header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, caption: str = "") -> str:
    """A table of plain texts; each row comes with its CSS class, and its first cell is its header."""
    head = "".join(element("th", escape(title), scope="col") for title in header)
    body = ""
    for css, cells in rows:
        first, *rest = (escape(cell) for cell in cells)
        data = element("th", first, scope="row") + "".join(element("td", cell) for cell in rest)
        body += element("tr", data, **({"class_": css} if css else {})) + "\n"
    note = element("caption", escape(caption)) if caption else ""
    inner = f"{note}<thead>{element('tr', head)}</thead>\n<tbody>\n{body}</tbody>"
    return element("div", element("table", inner), class_="wide")


def image_figure(path: Path) -> str:
    """A PNG inside the page, its caption also as its alternative text; nothing without a caption or if damaged."""
    try:
        caption, data = read_caption(path), path.read_bytes()
    except OSError:
        return ""
    if not caption:
        return ""
    text = escape(caption)
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return element("figure", f'<img src="{source}" alt="{text}"><figcaption>{text}</figcaption>')


def folded(title: str, content: str, *, is_open: bool = False) -> str:
    """Content, which is HTML already, behind a title that opens it."""
    return f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>{content}</details>"
