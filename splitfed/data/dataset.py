"""A loaded data set: all its images at 8 bits, from which chosen ones become float images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from splitfed.data.cache import image_digests
from splitfed.data.source import Found
from splitfed.types import Images, ImageShape

if TYPE_CHECKING:
    from torch import Tensor

MOST_CLASSES = 20
"""That are named with their counts; a folder may have thousands."""


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
        groups: int64, (N,), equal for images of one patient or other group; None where none is known.
        parts: uint8, (N,), positions in `source.PARTS`, where the publisher has split the images.
        found: what was met while reading: skipped files, sizes, bit depths, what was decided about the folders.
        location: the folder or file that was read; None where there is none.
        known_digests: `digests`, where they need not be worked out again.
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    synthetic: bool
    note: str
    caveat: str = ""
    groups: NDArray[np.int64] | None = None
    parts: NDArray[np.uint8] | None = None
    found: Found = field(default_factory=Found)
    location: Path | None = None
    known_digests: NDArray[np.bytes_] | None = None

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
        groups = None if self.groups is None else torch.from_numpy(self.groups[rows])
        return Images(pixels, torch.from_numpy(self.labels[rows]), self.classes, groups)

    @property
    def counts(self) -> dict[str, int]:
        """How many images each class has."""
        return dict(zip(self.classes, np.bincount(self.labels, minlength=len(self.classes)).tolist(), strict=True))

    def described(self) -> str:
        """In a paragraph what was read: where from, classes with counts, groups, skipped files, what was decided.

        >>> from splitfed.data import load
        >>> load("digits").described()[:70]
        'digits: 1,797 images that ship with scikit-learn; 10 classes: 0 178, 1'
        """
        counts = [f"{name} {count:,}" for name, count in self.counts.items()]
        more = f" and {len(counts) - MOST_CLASSES:,} more" if len(counts) > MOST_CLASSES else ""
        parts = [f"{self.name}: {self.note}", f"{len(counts):,} classes: {', '.join(counts[:MOST_CLASSES])}{more}"]
        if self.groups is not None:
            parts.append(f"{len(np.unique(self.groups)):,} groups, each on one side of the split")
        if self.found.skipped:
            skipped = (f"{count:,} {suffix}" for suffix, count in self.found.skipped.items())
            parts.append(f"skipped files: {', '.join(skipped)}")
        return "; ".join([*parts, *self.found.remarks])

    @cached_property
    def digests(self) -> NDArray[np.bytes_]:
        """A hash of each image, (N,): equal images have equal ones."""
        return image_digests(self.pixels) if self.known_digests is None else self.known_digests

    @cached_property
    def identity(self) -> str:
        """A fingerprint of everything that a split depends on: pixels, labels, classes, groups and parts.

        Two data sets with the same identity give the same images to the same clients.
        """
        digest = hashlib.blake2b(repr((self.name, self.classes, self.pixels.shape)).encode(), digest_size=16)
        for values in (self.digests, self.labels, self.groups, self.parts):
            digest.update(b"none" if values is None else values.tobytes())
        return digest.hexdigest()
