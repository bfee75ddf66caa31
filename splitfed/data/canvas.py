"""A batch of pictures drawn at once: soft-edged shapes, smooth textures, random poses.

Coordinates run from -1 to 1, x to the right and y downwards, whatever the size in pixels. Every quantity of
one picture is an array (B, 1, 1), so one numpy expression draws the same organ in all pictures of the batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]
"""(B, 1, 1) for one number per picture, (B, size, size) for one per pixel."""


@lru_cache(maxsize=32)
def _waves(size: int, cycles: int) -> Field:
    """The cosine basis functions of up to ``cycles`` half periods, sampled at pixel centers: (size, cycles + 1)."""
    centers = (np.arange(size) + 0.5) / size
    return np.cos(np.pi * np.outer(centers, np.arange(cycles + 1))).astype(np.float32)


class Canvas:
    """``count`` square pictures of ``size`` pixels, and the randomness that draws them."""

    def __init__(self, count: int, size: int, rng: np.random.Generator) -> None:
        self.count, self.size, self.rng = count, size, rng
        self.image: Field = np.zeros((count, size, size), np.float32)
        axis = ((np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1).astype(np.float32)
        self.x: Field = np.broadcast_to(axis, (count, size, size))
        self.y: Field = np.broadcast_to(axis[:, None], (count, size, size))

    def uniform(self, low: float, high: float) -> Field:
        """One number per picture, evenly from [low, high)."""
        return self.rng.uniform(low, high, (self.count, 1, 1)).astype(np.float32)

    def chance(self, probability: float) -> Field:
        """1 in this share of the pictures, else 0."""
        return (self.rng.random((self.count, 1, 1)) < probability).astype(np.float32)

    def pose(self, *, shift: float, turn: float, stretch: float, warp: float) -> None:
        """Move, turn (radians), stretch and bend what is drawn from here on, differently in each picture."""
        angle = self.uniform(-turn, turn)
        dx, dy = self.x - self.uniform(-shift, shift), self.y - self.uniform(-shift, shift)
        x = (dx * np.cos(angle) + dy * np.sin(angle)) / self.uniform(1 - stretch, 1 + stretch)
        y = (dy * np.cos(angle) - dx * np.sin(angle)) / self.uniform(1 - stretch, 1 + stretch)
        self.x = x + self.texture(3, warp)
        self.y = y + self.texture(3, warp)

    def texture(self, cycles: int, strength: float | Field) -> Field:
        """A smooth random field of mean 0 and standard deviation ``strength``; more cycles are finer grain."""
        waves = _waves(self.size, cycles)
        weights = self.rng.standard_normal((self.count, cycles + 1, cycles + 1)).astype(np.float32)
        weights[:, 0, 0] = 0  # no constant part: it would only shift the mean
        weights /= np.sqrt((weights**2).sum((1, 2), keepdims=True)) / 2  # the basis has variance 1/2 per axis
        return np.asarray(strength * (waves @ weights @ waves.T), np.float32)

    def ellipse(
        self,
        x: float | Field,
        y: float | Field,
        width: float | Field,
        height: float | Field,
        turn: float | Field = 0.0,
    ) -> Field:
        """Coverage in [0, 1] of an ellipse with these half axes, turned by radians."""
        angle = np.asarray(turn, np.float32)
        cos, sin = np.cos(angle), np.sin(angle)
        dx, dy = self.x - x, self.y - y
        radius = np.sqrt(((dx * cos + dy * sin) / width) ** 2 + ((dy * cos - dx * sin) / height) ** 2)
        return self._coverage((radius - 1) * np.minimum(width, height))

    def ring(
        self,
        x: float | Field,
        y: float | Field,
        width: float | Field,
        height: float | Field,
        thickness: float | Field,
    ) -> Field:
        """Coverage of the outline of an ellipse; ``thickness`` across, centered on the ellipse."""
        radius = np.sqrt(((self.x - x) / width) ** 2 + ((self.y - y) / height) ** 2)
        return self._coverage(np.abs(radius - 1) * np.minimum(width, height) - np.asarray(thickness) / 2)

    def bone(
        self,
        start: tuple[float | Field, float | Field],
        end: tuple[float | Field, float | Field],
        radius: float | Field,
        taper: float = 1.0,
    ) -> Field:
        """Coverage of a rod with round ends, whose radius goes from ``radius`` to ``radius * taper``."""
        ax, ay = end[0] - start[0], end[1] - start[1]
        dx, dy = self.x - start[0], self.y - start[1]
        along = np.clip((dx * ax + dy * ay) / (ax * ax + ay * ay), 0, 1)
        distance = np.sqrt((dx - along * ax) ** 2 + (dy - along * ay) ** 2)
        return self._coverage(distance - radius * (1 + along * (taper - 1)))

    def below(self, height: float | Field) -> Field:
        """Coverage of everything lower than this height."""
        return self._coverage(height - self.y)

    def paint(self, coverage: Field, value: float | Field) -> None:
        """Cover what is there with ``value``."""
        self.image += coverage * (value - self.image)

    def add(self, coverage: Field, value: float | Field) -> None:
        """Add ``value`` to what is there: X-rays add up where organs overlap."""
        self.image += coverage * value

    def finish(self, *, grain: float) -> NDArray[np.uint8]:
        """The pictures with sensor noise, (B, size, size) at 8 bits."""
        noise = self.rng.standard_normal(self.image.shape, np.float32)
        return np.asarray(np.rint(np.clip(self.image + grain * noise, 0, 1) * 255), np.uint8)

    def _coverage(self, distance: float | Field) -> Field:
        """From signed distance (negative inside) to coverage, over an edge of one pixel."""
        return np.asarray(np.clip(0.5 - np.asarray(distance) * (self.size / 2), 0, 1), np.float32)
