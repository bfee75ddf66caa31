"""Labeled grids of images: originals above what an attacker made of them.

Which images are shown follows a fixed rule, never their looks: the first by index, then the worst, the middle
and the best reconstructed by PSNR, labeled as what they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from splitfed.records.strips import Pixels, as_tiles, write_png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

CAPTION_KEY = "Description"  # the keyword that the PNG specification names for it
_TILE_PX, _GAP_PX, _FONT_PX = 84, 6, 13
_PAPER, _INK = (255, 255, 255), (32, 32, 32)


class Pick(NamedTuple):
    """An image that is shown, and why it was picked."""

    position: int
    label: str


class GridRow(NamedTuple):
    """One row of a grid: its label and its images, (N, C, H, W)."""

    label: str
    images: Pixels


def pick(psnr_db: NDArray[np.floating], *, first: int = 6) -> list[Pick]:
    """The ``first`` images by index, then those of lowest, median and highest PSNR.

    >>> pick(np.array([20.0, 30.0, 10.0, 25.0, 15.0]), first=2)
    [Pick(position=0, label='no. 0'), Pick(position=1, label='no. 1'), \
Pick(position=2, label='lowest\\n10.0 dB'), Pick(position=0, label='median\\n20.0 dB'), \
Pick(position=1, label='highest\\n30.0 dB')]
    """
    order = np.argsort(psnr_db, kind="stable")
    by_score = {"lowest": order[0], "median": order[(len(order) - 1) // 2], "highest": order[-1]}
    numbered = [Pick(index, f"no. {index}") for index in range(min(first, len(psnr_db)))]
    return numbered + [Pick(int(i), f"{name}\n{psnr_db[i]:.1f} dB") for name, i in by_score.items()]


def save_cell_grid(
    path: Path, originals: Pixels, reconstructions: Pixels, psnr_db: NDArray[np.floating], *, cell: str, attack: str
) -> None:
    """One cell's grid: originals above the reconstructions by ``attack``, picked by the fixed rule.

    Args:
        path: where to write the PNG; `images/<cell>.png` of a run is what the report looks for.
        originals: (N, C, H, W), aligned with ``reconstructions`` and ``psnr_db``, (N,).
        reconstructions: what the attack made of them.
        psnr_db: score of each image.
        cell: the cell's name.
        attack: the attack's name.
    """
    picks = pick(psnr_db)
    chosen = [picked.position for picked in picks]
    rows = [GridRow("original", originals[chosen]), GridRow(attack, reconstructions[chosen])]
    caption = (
        f"{cell}: private images above, as reconstructed by {attack} below. The first {len(picks) - 3} by index, "
        f"then those of lowest, median and highest PSNR among {len(psnr_db)}."
    )
    save_grid(path, [picked.label for picked in picks], rows, caption=caption)


def save_comparison(path: Path, originals: Pixels, reconstructions: Mapping[str, Pixels], *, first: int = 8) -> None:
    """The first images by index, and below them what the strongest attack got past each defense.

    ``reconstructions`` maps a row's label (defense, attack) to images aligned with ``originals``.
    """
    shown = min(first, len(originals))
    rows = [GridRow("original", originals[:shown])]
    rows += [GridRow(label, images[:shown]) for label, images in reconstructions.items()]
    caption = (
        f"The first {shown} private images by index, and what the strongest attack on each defense made of the "
        f"same images: {', '.join(reconstructions)}."
    )
    save_grid(path, [f"no. {index}" for index in range(shown)], rows, caption=caption)


def save_extremes(
    path: Path, originals: Pixels, reconstructions: Mapping[str, Pixels], psnr_db: NDArray[np.floating]
) -> None:
    """The images of highest, median and lowest PSNR without a defense, and what each row's attack made of them.

    Args:
        path: where to write the PNG.
        originals: (3, C, H, W), in that order.
        reconstructions: a row's label (defense, attack) to images aligned with ``originals``.
        psnr_db: the scores without a defense, (3,).
    """
    names = ("highest", "median", "lowest")
    columns = [f"{name}\n{score:.1f} dB" for name, score in zip(names, psnr_db, strict=True)]
    rows = [GridRow("original", originals), *(GridRow(label, images) for label, images in reconstructions.items())]
    caption = (
        "The private images of highest, median and lowest PSNR without a defense, and what the strongest attack on "
        f"each defense made of the same images: {', '.join(reconstructions)}."
    )
    save_grid(path, columns, rows, caption=caption)


def save_grid(path: Path, columns: Sequence[str], rows: Sequence[GridRow], *, caption: str) -> None:
    """Write rows of images with a label to their left and one above each column; the caption goes into the file.

    Raises:
        ValueError: a row does not have one image per column, or not the shape of the first row's.
    """
    shape = rows[0].images.shape[1:]
    for row in rows:
        if row.images.shape != (len(columns), *shape):
            raise ValueError(f"row {row.label!r}: want {(len(columns), *shape)}, got {row.images.shape}")
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(CAPTION_KEY, caption)
    write_png(path, _draw(columns, rows), pnginfo=notes)


def read_caption(path: Path) -> str:
    """The caption that `save_grid` put into the file; empty where there is none.

    Raises:
        OSError: the file is no readable picture.
    """
    with Image.open(path) as picture:
        return str(picture.info.get(CAPTION_KEY, ""))


def _draw(columns: Sequence[str], rows: Sequence[GridRow]) -> NDArray[np.uint8]:
    height_px, width_px = rows[0].images.shape[2:]
    scale = max(1, _TILE_PX // width_px)
    step_x, step_y = width_px * scale + _GAP_PX, height_px * scale + _GAP_PX
    font = ImageFont.load_default(_FONT_PX)
    left = _GAP_PX + max(round(font.getlength(row.label)) for row in rows) + _GAP_PX
    top = (_FONT_PX + 3) * max(label.count("\n") + 1 for label in columns) + _GAP_PX
    canvas = Image.new("RGB", (left + step_x * len(columns), top + step_y * len(rows)), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for place, label in enumerate(columns):
        center = left + place * step_x + width_px * scale // 2
        draw.multiline_text((center, top - 4), label, _INK, font, anchor="md", align="center", spacing=2)
    for line, row in enumerate(rows):
        y = top + line * step_y
        draw.text((left - _GAP_PX, y + height_px * scale // 2), row.label, _INK, font, anchor="rm")
        for place, tile in enumerate(as_tiles(row.images)):
            enlarged = tile.repeat(scale, axis=0).repeat(scale, axis=1)
            canvas.paste(Image.fromarray(enlarged), (left + place * step_x, y))
    return np.asarray(canvas)
