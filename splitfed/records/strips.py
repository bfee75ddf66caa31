"""Pixels as tiles and as PNG files, and the strip of the live view: originals above, their reconstructions below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from splitfed.files import replacing

Pixels = NDArray[Any]
"""Images, (N, C, H, W) with one or three channels: floats in [0, 1] or uint8."""
Canvas = NDArray[np.uint8]
"""A picture, (H, W, 3)."""


def as_tiles(images: Pixels) -> NDArray[np.uint8]:
    """The same images as uint8, (N, H, W, 3); floats outside [0, 1] are clamped, gray becomes RGB."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"want images (N, 1 or 3, H, W), got {images.shape}")
    if images.dtype != np.uint8:
        images = np.rint(np.clip(np.nan_to_num(images), 0, 1) * 255).astype(np.uint8)
    color = np.broadcast_to(images, (images.shape[0], 3, *images.shape[2:]))
    return np.ascontiguousarray(color.transpose(0, 2, 3, 1))


def save_strip(path: Path, originals: Pixels, reconstructions: Pixels) -> int:
    """Write the images side by side, originals in the upper row, and return the width of a tile in pixels.

    The file is replaced whole: a view that reads it meanwhile sees the old strip or the new one.

    Raises:
        ValueError: the two do not have the same shape, or it is not that of images.
    """
    if originals.shape != reconstructions.shape:
        raise ValueError(f"originals {originals.shape} and reconstructions {reconstructions.shape} differ")
    rows = [np.concatenate(list(as_tiles(images)), axis=1) for images in (originals, reconstructions)]
    write_png(path, np.concatenate(rows))
    return int(originals.shape[3])


def load_strip(path: Path) -> Canvas | None:
    """The strip, (2·H, N·W, 3), or None where there is no readable picture."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):  # what Pillow raises on missing, truncated and garbled files
        return None


def write_png(path: Path, canvas: Canvas, **options: Any) -> None:
    """Write a picture whole or not at all; ``options`` go to Pillow's PNG writer.

    Raises:
        UserError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        Image.fromarray(canvas).save(file, format="PNG", **options)
