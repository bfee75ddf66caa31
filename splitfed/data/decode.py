"""From an image file's bytes to an array of the wanted size, refusing what does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from splitfed.data.formats import Window, open_picture
from splitfed.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

_CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3}
"""The modes that become 8-bit gray or RGB without losing depth or an alpha channel."""


@dataclass(frozen=True)
class Sample:
    """One decoded file: ``pixels`` uint8 (C, size, size), its own size and depth, and its patient if it names one."""

    pixels: NDArray[np.uint8]
    size: str
    depth: str
    patient: str


class ImageDecoder:
    """Decodes the images of one data set, which must all be alike.

    Args:
        size: edge of the result in pixels; None keeps the files' own, which must then be one square size.
        channels: 1 or 3; None takes that of the first image.
        edge: the height and width that every file must have; None allows any where ``size`` is given.
        crops: the widths and heights that files may have, and the edge of the center square to keep of each; with
            them, ``edge`` plays no part.
        window: what pixels of more than 8 bits are shown through; None takes the file's own, or its range.
    """

    def __init__(
        self,
        *,
        size: int | None,
        channels: int | None = None,
        edge: int | None = None,
        crops: Mapping[tuple[int, int], int] | None = None,
        window: Window | None = None,
    ) -> None:
        self.size, self.channels, self.edge, self.crops, self.window = size, channels, edge, crops, window

    def __call__(self, data: bytes, where: str) -> Sample:
        """The image, center-cropped to a square, then resized.

        Raises:
            DataError: unreadable, or of another mode or size than expected; ``where`` names the file.
        """
        try:
            picture = open_picture(data, where, self.window)
            with picture.image as image:
                self._check(image, where)
                gray_or_rgb = image.convert("L" if self.channels == 1 else "RGB")
                cropped = center_square(gray_or_rgb, self.crops[image.size]) if self.crops else gray_or_rgb
                size = f"{image.height}×{image.width}"
                return Sample(resize(cropped, self.size), size, picture.depth, picture.patient)
        except DataError:
            raise
        except Exception as error:  # a damaged file can raise anything, a header that asks for too much memory too
            raise DataError(
                f"{where}: expected an image, found {len(data):,} bytes that do not decode ({error}); "
                "replace or remove this file"
            ) from error

    def _check(self, image: Image.Image, where: str) -> None:
        channels = _CHANNELS.get(image.mode)
        if self.channels is None:
            self.channels = channels
        if channels is None or channels != self.channels:
            raise DataError(
                f"{where}: expected {_mode(self.channels)}, found mode {image.mode}; "
                "convert the images of this data set to one such mode"
            )
        if self.crops is not None:
            self._check_crop(image, where)
            return
        if self.edge is None and self.size is None:
            self.edge = image.height
        if self.edge is not None and image.size != (self.edge, self.edge):
            way_out = "give a size, and all are cropped and resized to it" if self.size is None else "replace this file"
            raise DataError(
                f"{where}: expected {self.edge}×{self.edge} pixels, found {image.height}×{image.width} "
                f"(height × width); {way_out}"
            )

    def _check_crop(self, image: Image.Image, where: str) -> None:
        if image.size not in (self.crops or {}):
            known = " or ".join(f"{height}×{width}" for width, height in self.crops or {})
            raise DataError(
                f"{where}: expected {known} pixels, found {image.height}×{image.width} (height × width); "
                "replace this file"
            )


def resize(image: Image.Image, size: int | None) -> NDArray[np.uint8]:
    """An "L" or "RGB" image as uint8 (C, size, size): center-cropped to a square, bilinear with antialiasing."""
    if size is not None and image.size != (size, size):
        from torchvision.transforms.v2.functional import resize as resized  # takes a second

        # Cropped first: resize's own box would let the filter reach beyond it. Pillow widens the bilinear
        # filter when it shrinks, which is what antialiasing means.
        image = resized(center_square(image, min(image.size)), [size, size])
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def center_square(image: Image.Image, edge: int) -> Image.Image:
    """The middle ``edge`` × ``edge`` pixels; of two middles the upper left one, where torchvision rounds to even."""
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return image.crop((left, top, left + edge, top + edge))


def resize_all(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Gray (N, H, W) or color (N, H, W, 3) as uint8 (N, C, size, size); not touched if of that size."""
    from PIL import Image

    if size is None or images.shape[1:3] == (size, size):
        return images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return np.stack([resize(Image.fromarray(image), size) for image in images])


def _mode(channels: int | None) -> str:
    return {1: "8-bit gray (mode L)", 3: "8-bit color (mode RGB)"}.get(channels or 0, "8-bit gray or RGB")
