"""Sheets: many images of one size in one PNG, tile beside tile, in a fixed order and without loss."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from splitfed.files import replacing
from splitfed.records.strips import Pixels

TILES_PER_ROW = 32
TILES_PER_SHEET = 1024
"""A sheet of 64x64 pixels in color is 12 MiB once a browser has unpacked it."""
COMPRESS_LEVEL = 4
"""Of zlib: within some percent of the smallest file, in half the time."""


def as_bytes(images: Pixels) -> NDArray[np.uint8]:
    """The same images as uint8, (N, C, H, W); floats outside [0, 1] are clamped, what is no number is black."""
    if images.dtype == np.uint8:
        return images
    levels: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(images), 0, 1) * 255).astype(np.uint8)
    return levels


def save_sheets(folder: Path, stem: str, images: Pixels) -> tuple[str, ...]:
    """Write images as sheets ``<stem>-0.png``, ``<stem>-1.png``, ... and return their names.

    Args:
        folder: made where it is not there.
        stem: what the names begin with.
        images: (N, C, H, W) with one or three channels: floats in [0, 1] or uint8.

    Raises:
        UserError: one cannot be written.
    """
    names = []
    for number, start in enumerate(range(0, len(images), TILES_PER_SHEET)):
        names.append(f"{stem}-{number}.png")
        save_sheet(folder / names[-1], images[start : start + TILES_PER_SHEET])
    return tuple(names)


def save_sheet(path: Path, images: Pixels) -> None:
    """Write at most `TILES_PER_SHEET` images as one sheet, `TILES_PER_ROW` in a row; missing tiles are black.

    Raises:
        UserError: it cannot be written.
    """
    with replacing(path) as file:
        Image.fromarray(_tiled(as_bytes(images))).save(file, format="PNG", compress_level=COMPRESS_LEVEL)


def sheet_png(images: Pixels) -> bytes:
    """The content of the file that `save_sheet` writes."""
    file = io.BytesIO()
    Image.fromarray(_tiled(as_bytes(images))).save(file, format="PNG", compress_level=COMPRESS_LEVEL)
    return file.getvalue()


def load_tiles(path: Path, count: int, height: int, width: int) -> NDArray[np.uint8]:
    """The first ``count`` tiles of a sheet: uint8, (count, C, height, width).

    Raises:
        OSError: it is no readable picture.
        ValueError: it has fewer tiles than that.
    """
    with Image.open(path) as picture:
        canvas = np.asarray(picture)
    if canvas.ndim == 2:
        canvas = canvas[:, :, None]
    rows, columns = canvas.shape[0] // height, canvas.shape[1] // width
    if rows * columns < count:
        raise ValueError(f"{path}: want {count} tiles of {width}x{height}, found {rows * columns}")
    tiles = canvas[: rows * height, : columns * width].reshape(rows, height, columns, width, -1)
    return np.ascontiguousarray(tiles.transpose(0, 2, 4, 1, 3).reshape(rows * columns, -1, height, width)[:count])


def _tiled(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One picture: (H, W) for gray, (H, W, 3) for color."""
    count, channels, height, width = images.shape
    columns = min(TILES_PER_ROW, max(count, 1))
    rows = max(-(-count // columns), 1)
    canvas = np.zeros((rows * columns, channels, height, width), np.uint8)
    canvas[:count] = images
    tiles = canvas.reshape(rows, columns, channels, height, width)
    picture = tiles.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    return np.ascontiguousarray(picture[:, :, 0] if channels == 1 else picture)
