"""A loaded data set: all its images at 8 bits, from which chosen ones become float images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from splitfed.types import Images, ImageShape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """What `load` returns. Pixels stay at 8 bits, and mostly on disk, until `take` or `split` chooses some.

    Attributes:
        name: what the images are: the fallback's name where a fallback stands in.
        pixels: uint8, (N, C, H, W), read-only, perhaps mapped from the cache.
        labels: int64, (N,).
        classes: the names of the classes.
        synthetic: whether the images are drawn; results must say so.
        note: one line on where they come from.
        caveat: one line that belongs to every result on them; empty where there is nothing to say.
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    synthetic: bool
    note: str
    caveat: str = ""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width of one image."""
        return ImageShape(*self.pixels.shape[1:])

    def take(self, index: NDArray[np.int64] | Tensor) -> Images:
        """The images at these positions, in this order: float32 in [0, 1]."""
        import torch

        rows = np.asarray(index)
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels[rows])).float().div_(255)
        return Images(pixels, torch.from_numpy(self.labels[rows]), self.classes)
