"""A stand-in for Medical MNIST where there is no network: six classes of drawn radiographs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splitfed.data import anatomy
from splitfed.data.cache import cached, write_entry
from splitfed.data.canvas import Canvas
from splitfed.data.source import DatasetSource, Decoded, Progress, Request
from splitfed.seeding import seed_for

DRAWERS: dict[str, Callable[[Canvas], None]] = {
    "AbdomenCT": anatomy.abdomen_ct,
    "BreastMRI": anatomy.breast_mri,
    "CXR": anatomy.chest_xray,
    "ChestCT": anatomy.chest_ct,
    "Hand": anatomy.hand_xray,
    "HeadCT": anatomy.head_ct,
}
GRAIN = 0.006
"""Standard deviation of the sensor noise; it leaves the pictures about as compressible as the real ones."""
BATCH = 250  # pictures drawn at once: fits a processor's cache better than thousands do


@dataclass(frozen=True)
class Phantoms(DatasetSource):
    """``per_class`` pictures of each class, drawn from ``seed``."""

    per_class: int = 4000
    seed: int = 0
    name: str = field(default="phantoms", init=False)
    summary: str = field(
        default="drawn stand-ins for the six classes of Medical MNIST: synthetic, for use without a network", init=False
    )
    default_image_size: int = field(default=28, init=False)
    synthetic: bool = field(default=True, init=False)
    takes_path: bool = field(default=False, init=False)

    def read(self, request: Request) -> Decoded:
        """The pictures at the asked size, drawn once and then cached."""
        size = request.image_size or self.default_image_size

        def build(folder: Path) -> None:
            pixels = self._draw(size, request.on_progress)
            labels = np.repeat(np.arange(len(DRAWERS), dtype=np.int64), self.per_class)
            note = f"{len(pixels):,} procedural drawings, not medical images"
            write_entry(folder, Decoded(pixels, labels, tuple(DRAWERS), note))

        return cached(request.cache, self.name, self._identity(), size, build)

    def _draw(self, size: int, on_progress: Progress) -> NDArray[np.uint8]:
        total = self.per_class * len(DRAWERS)
        pixels = np.empty((total, 1, size, size), np.uint8)
        for number, name in enumerate(DRAWERS):
            for start in range(0, self.per_class, BATCH):
                row, count = number * self.per_class + start, min(BATCH, self.per_class - start)
                on_progress("drawing phantoms", row, total)
                rng = np.random.default_rng(seed_for(self.seed, "phantoms", number, start))
                pixels[row : row + count, 0] = draw(name, count, size, rng)
        return pixels

    def _identity(self) -> str:
        """Changes with the drawing code, so that a cache never mixes two kinds of drawing."""
        code = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("anatomy.py", "canvas.py"))
        return f"{self.per_class}|{self.seed}|{GRAIN}|{BATCH}|{hashlib.blake2b(code, digest_size=8).hexdigest()}"


def draw(class_name: str, count: int, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures of one class, uint8 (count, size, size)."""
    canvas = Canvas(count, size, rng)
    DRAWERS[class_name](canvas)
    return canvas.finish(grain=GRAIN)
