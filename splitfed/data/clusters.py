"""Which images belong together: equal ones, those of one patient, and those that nearly equal each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from splitfed.data.source import Progress
from splitfed.types import NEAR_DB

GRID = 16
"""Cells along each edge of the summary by which most pairs are ruled out."""
ROWS_PER_BLOCK = 256
BYTES_PER_BLOCK = 1 << 25
"""Of images that are worked on at once."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def connected(pairs: Pairs, count: int) -> NDArray[np.int64]:
    """A number per node that is equal for nodes which pairs tie together, directly or through others: int64, (count,).

    >>> connected((np.array([0, 3]), np.array([1, 1])), 4).tolist()
    [0, 0, 1, 0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def near_duplicates(
    pixels: NDArray[np.uint8],
    on_progress: Progress,
    *,
    rows: NDArray[np.int64] | None = None,
    near_db: float = NEAR_DB,
) -> NDArray[np.int64]:
    """The cluster of each image, int64 (N,): two images of at least this PSNR to each other are in one.

    Exact: a pair is ruled out only by a bound, or left out because the two are in one cluster already. The means over
    the cells of a grid, weighted by the cells' sizes, never lie further apart than the images themselves.

    Args:
        pixels: uint8, (M, C, H, W), perhaps mapped from disk.
        on_progress: told how many images have been compared with all others.
        rows: the positions of the N images that are compared; all by default.
        near_db: PSNR in dB at 8 bits.
    """
    rows = np.arange(len(pixels)) if rows is None else rows
    most = 255.0**2 * 10 ** (-near_db / 10)  # mean squared difference
    search = _Search(pixels, rows, most)
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        on_progress("comparing images", start, len(rows))
        search.compare(start)
    return search.clusters()


class _Search:
    """Images sorted by the length of their summary, which bounds their distance as well, and their clusters so far."""

    def __init__(self, pixels: NDArray[np.uint8], rows: NDArray[np.int64], most: float) -> None:
        points = _summaries(pixels, rows)
        lengths = np.linalg.norm(points, axis=1)
        self.order = np.argsort(lengths, kind="stable")
        self.points, self.lengths = points[self.order], lengths[self.order]
        self.squares = (self.lengths**2).astype(np.float32)
        self.pixels, self.rows, self.most = pixels, rows[self.order], most
        self.cluster = np.arange(len(rows))
        self.pairs_at_once = max(1, BYTES_PER_BLOCK // max(1, 4 * math.prod(pixels.shape[1:])))

    def compare(self, start: int) -> None:
        """Compare a block of images with all that come after them and may be near enough."""
        end = min(start + ROWS_PER_BLOCK, len(self.points))
        slack = np.sqrt(self.most) * 1.001 + 0.01  # for rounding: what is let through too much is looked at again
        last = int(np.searchsorted(self.lengths, self.lengths[end - 1] + slack, side="right"))
        products = self.points[start:end] @ self.points[start:last].T
        squares = self.squares[start:end, None]
        near = squares + self.squares[None, start:last] - 2 * products <= slack**2 + 1e-3 * squares
        for row in range(start, end):
            others = start + np.flatnonzero(near[row - start])
            self._join(row, others[others > row])

    def _join(self, row: int, others: NDArray[np.int64]) -> None:
        """Put an image together with those of these that are near it, some at a time."""
        while len(others):
            others = others[self.cluster[others] != self.cluster[row]]
            some, others = others[: self.pairs_at_once], others[self.pairs_at_once :]
            one = self.pixels[self.rows[row]].astype(np.float32)
            squares = ((self.pixels[self.rows[some]].astype(np.float32) - one) ** 2).mean(axis=(1, 2, 3))
            joined = np.unique(self.cluster[some[squares <= self.most]])
            if len(joined):
                self.cluster[np.isin(self.cluster, joined)] = self.cluster[row]

    def clusters(self) -> NDArray[np.int64]:
        """The cluster of each image in the order in which they were given, numbered from 0."""
        found = np.empty(len(self.order), np.int64)
        found[self.order] = self.cluster
        return np.asarray(np.unique(found, return_inverse=True)[1], np.int64)


def _summaries(pixels: NDArray[np.uint8], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Points whose squared distance is at most the mean squared difference of the images: float32, (N, C·cells)."""
    _, channels, height, width = pixels.shape
    rows, columns = (np.linspace(0, edge, min(GRID, edge) + 1).astype(int) for edge in (height, width))
    cells = np.outer(np.diff(rows), np.diff(columns))
    points = np.empty((len(chosen), channels, *cells.shape), np.float32)
    step = max(1, BYTES_PER_BLOCK // (4 * channels * height * width))
    for start in range(0, len(chosen), step):
        block = pixels[chosen[start : start + step]].astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(block, rows[:-1], axis=2), columns[:-1], axis=3)
        points[start : start + step] = sums / np.sqrt(cells * channels * height * width)
    return points.reshape(len(chosen), channels * cells.size)
