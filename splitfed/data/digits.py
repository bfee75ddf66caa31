"""scikit-learn's handwritten digits: they ship with it, so they are always at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from splitfed.data.decode import resize_all
from splitfed.data.source import DatasetSource, Decoded, Request

GRAY_LEVELS = 16  # the files hold 0 to 16


@dataclass(frozen=True)
class Digits(DatasetSource):
    """1,797 digits of 8×8 pixels in 17 gray levels, enlarged only if a size asks for it."""

    name: str = field(default="digits", init=False)
    summary: str = field(
        default="scikit-learn's digits: 1,797 handwritten digits, gray 8×8, always at hand", init=False
    )
    default_image_size: int = field(default=8, init=False)
    takes_path: bool = field(default=False, init=False)

    def read(self, request: Request) -> Decoded:
        """All digits."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * 255 / GRAY_LEVELS).astype(np.uint8)
        classes = tuple(str(name) for name in digits.target_names)
        note = f"{len(images):,} images that ship with scikit-learn"
        return Decoded(resize_all(images, request.image_size), digits.target.astype(np.int64), classes, note)
