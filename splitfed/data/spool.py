"""Decoded images on their way into the cache: kept on disk, not in memory, until their order is known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray


class Spool:
    """Images of one shape, in the order in which they came."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """One more image, uint8 (C, H, W)."""
        self._shape = pixels.shape
        self._count += 1
        self._file.write(pixels.tobytes())

    def pixels(self) -> NDArray[np.uint8]:
        """All images, uint8 (N, C, H, W), mapped from disk; at least one has been added."""
        self._file.flush()
        return np.memmap(self._file, np.uint8, "r", shape=(self._count, *self._shape))


@contextmanager
def spool_in(folder: Path) -> Iterator[Spool]:
    """A spool in a temporary file in ``folder``."""
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Spool(file)
