"""A picture in a terminal: two pixels per character cell, the upper as foreground, the lower as background."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from splitfed.records.strips import Canvas

UPPER_HALF = "▀"
PAIRS_WANTED = 4
"""Rather smaller tiles than fewer pairs than this."""
SHADES = " ░▒▓█"
"""For a terminal without colors: from black to white, as on a dark background."""


class StripPicture:
    """As many pairs of a strip as fit: originals above, reconstructions below, each pair at most ``max_rows`` high.

    A tile is never drawn larger than it is; it is shrunk by averaging where ``max_rows`` asks for that.
    """

    def __init__(self, strip: Canvas, tile_px: int, *, max_rows: int = 14) -> None:
        self._strip = strip
        self._tile_px = tile_px
        self._max_rows = max_rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the width and the colors at hand."""
        canvas = fit(self._strip, self._tile_px, columns=options.max_width, rows=self._max_rows)
        for upper, lower in zip(canvas[::2], canvas[1::2], strict=True):
            if console.color_system is None:
                yield Segment(_shades(upper, lower))
            else:
                yield from _half_blocks(upper, lower)
            yield Segment.line()


def fit(strip: Canvas, tile_px: int, *, columns: int, rows: int) -> Canvas:
    """The strip shrunk so that both its rows of tiles take at most ``rows`` lines of two pixels each.

    Tiles that would not fit into ``columns`` are left out, from the right. Height is even.
    """
    height, width = strip.shape[:2]
    tile_height, tiles_in_strip = height // 2, max(1, width // tile_px)
    side_by_side = columns // min(tiles_in_strip, PAIRS_WANTED)
    scale = min(1.0, rows / tile_height, side_by_side / tile_px)  # two tiles take as many lines as one has pixels
    shown_px, tile_columns = max(1, int(tile_height * scale)), max(1, int(tile_px * scale))
    tiles = max(1, min(tiles_in_strip, columns // tile_columns))
    rows_of_tiles = (strip[:tile_height], strip[tile_height : 2 * tile_height])
    # tile by tile, so that neighbors do not bleed into each other
    shrunk = [
        [_resized(row[:, i * tile_px : (i + 1) * tile_px], tile_columns, shown_px) for i in range(tiles)]
        for row in rows_of_tiles
    ]
    return np.concatenate([np.concatenate(row, axis=1) for row in shrunk])


def _resized(tile: Canvas, width: int, height: int) -> Canvas:
    return np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.BILINEAR))


def _half_blocks(upper: Canvas, lower: Canvas) -> list[Segment]:
    pairs = np.concatenate([upper, lower], axis=1).tolist()
    # neighbors of one color share a segment: flat backgrounds are most of many pictures
    return [Segment(UPPER_HALF * len(list(run)), _style(colors)) for colors, run in groupby(map(tuple, pairs))]


@lru_cache(maxsize=16384)  # frames come several times a second and mostly repeat their colors
def _style(colors: tuple[int, ...]) -> Style:
    return Style(color=Color.from_rgb(*colors[:3]), bgcolor=Color.from_rgb(*colors[3:]))


def _shades(upper: Canvas, lower: Canvas) -> str:
    gray = (upper.mean(axis=-1) + lower.mean(axis=-1)) / 2
    return "".join(SHADES[level] for level in (gray * len(SHADES) / 256).astype(int))
