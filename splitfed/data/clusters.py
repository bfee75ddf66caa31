"""Which images belong together: equal ones, those of one patient, and those that nearly equal each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from splitfed.data.source import Progress

NEAR_DB = 35.0
"""PSNR from which two images count as near-duplicates: at 8 bits they differ by 4.5 grey levels (rms), which hardly
anybody sees, and no reconstruction of the one could be told from the other."""
GRID = 8
"""Cells along each edge of the summary by which most pairs are ruled out."""
ROWS_PER_BLOCK = 1024
PAIRS_PER_BLOCK = 1 << 16

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


def near_duplicates(pixels: NDArray[np.uint8], on_progress: Progress, *, near_db: float = NEAR_DB) -> NDArray[np.int64]:
    """The cluster of each image, int64 (N,): two images of at least this PSNR to each other are in one.

    Exact: a pair is ruled out only by a bound. The means over the cells of a grid, weighted by the cells' sizes, never
    lie further apart than the images themselves.

    Args:
        pixels: uint8, (N, C, H, W).
        on_progress: told how many images have been compared with all others.
        near_db: PSNR in dB at 8 bits.
    """
    most = 255.0**2 * 10 ** (-near_db / 10)  # mean squared difference
    found = [_verified(pixels, pairs, most) for pairs in _candidates(_summaries(pixels), most, on_progress)]
    left, right = (np.concatenate([pairs[side] for pairs in found] or [np.empty(0, np.int64)]) for side in (0, 1))
    return connected((left, right), len(pixels))


def _summaries(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Points whose squared distance is at most the mean squared difference of the images: float32, (N, C·cells)."""
    count, channels, height, width = pixels.shape
    rows, columns = (np.linspace(0, edge, min(GRID, edge) + 1).astype(int) for edge in (height, width))
    cells = np.outer(np.diff(rows), np.diff(columns))
    points = np.empty((count, channels, *cells.shape), np.float32)
    for start in range(0, count, ROWS_PER_BLOCK):
        block = pixels[start : start + ROWS_PER_BLOCK].astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(block, rows[:-1], axis=2), columns[:-1], axis=3)
        points[start : start + ROWS_PER_BLOCK] = sums / np.sqrt(cells * channels * height * width)
    return points.reshape(count, channels * cells.size)


def _candidates(points: NDArray[np.float32], most: float, on_progress: Progress) -> Iterator[Pairs]:
    """All pairs whose summaries are near enough, in blocks; images are sorted by their length, which bounds as well."""
    lengths = np.linalg.norm(points, axis=1)
    order = np.argsort(lengths, kind="stable")
    points, lengths = points[order], lengths[order]
    squares = (lengths**2).astype(np.float32)
    slack = np.sqrt(most) * 1.001 + 0.01  # for rounding: what is let through too much is looked at again
    for start in range(0, len(points), ROWS_PER_BLOCK):
        on_progress("comparing images", start, len(points))
        end = min(start + ROWS_PER_BLOCK, len(points))
        last = int(np.searchsorted(lengths, lengths[end - 1] + slack, side="right"))
        distances = squares[start:end, None] + squares[None, start:last] - 2 * points[start:end] @ points[start:last].T
        near = np.argwhere(distances <= slack**2 + 1e-3 * squares[start:end, None])
        near = near[near[:, 0] < near[:, 1]] + start
        for block in np.array_split(near, max(1, -(-len(near) // PAIRS_PER_BLOCK))):
            yield order[block[:, 0]], order[block[:, 1]]


def _verified(pixels: NDArray[np.uint8], pairs: Pairs, most: float) -> Pairs:
    """The pairs whose images are as near as that."""
    kept = []
    for block in np.array_split(np.arange(len(pairs[0])), max(1, len(pairs[0]) // 4096)):
        one, other = (pixels[side[block]].astype(np.float32) for side in pairs)
        kept.append(block[((one - other) ** 2).mean(axis=(1, 2, 3)) <= most])
    chosen = np.concatenate(kept)
    return pairs[0][chosen], pairs[1][chosen]
