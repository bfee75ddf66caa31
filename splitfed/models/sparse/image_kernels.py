"""The compiled loops between sparse codes and canvases, which touch active codes only, and how both are laid out.

A canvas is laid out channels-last, (H', W', C), flat and with ``LANES`` spare numbers at its end. A row of an atom is
then k·C contiguous numbers, filled up with zeros to whole vectors. ``places`` says how many numbers of a canvas lie
between pixels below each other (``pixel_row``), between code positions below each other (``row``) and beside each
other (``step``); and an atom's edge k. Sums are taken in the order in which they are written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitfed.models.sparse.compiled import LANES, Array, compiled, index
from splitfed.models.sparse.vectors import subtract

_CACHE_LINE = 64
"""Bytes."""


@compiled
def aligned_zeros(count: int, number: Any) -> Array:
    """Zeros of this type that begin with a cache line, so that a vector of float32 lies in one."""
    memory = np.zeros(count + _CACHE_LINE, number)
    skipped = -memory.ctypes.data % _CACHE_LINE // memory.itemsize
    return memory[skipped : skipped + count]


@compiled
def channels_last(canvas: Array, channels: int, image: Array) -> None:
    """Copy a canvas (C, H', W'), flat, to (H', W', C); numbers of ``image`` past it stay."""
    pixels = len(canvas) // channels
    for c in range(index(channels)):
        for p in range(index(pixels)):
            image[p * index(channels) + c] = canvas[c * index(pixels) + p]


@compiled
def channels_first(image: Array, channels: int, canvas: Array) -> None:
    """The inverse of `channels_last`."""
    pixels = len(canvas) // channels
    for c in range(index(channels)):
        for p in range(index(pixels)):
            canvas[c * index(pixels) + p] = image[p * index(channels) + c]


@compiled
def take_up(start: Array, positions: int, codes: Array) -> None:
    """Begin with these codes (F, h, w) rather than with zeros."""
    features = len(codes) // positions
    for i in range(len(start)):
        if start[i] != 0:
            codes[i % positions * features + i // positions] = start[i]


@compiled
def hand_over(codes: Array, positions: int, out: Array) -> int:
    """Move the codes to zeros (F, h, w), and leave zeros; how many were active."""
    features, active = len(codes) // positions, 0
    for i in range(len(codes)):
        if codes[i] != 0:
            out[i % features * positions + i // features] = codes[i]
            codes[i] = 0
            active += 1
    return active


@compiled
def add_patch(
    target: Array, t: int, row: int, source: Array, s: int, source_row: int, rows: int, vectors: int, factor: float
) -> None:
    """Add ``factor`` times the rows at ``s`` in ``source``, ``source_row`` apart, to those at ``t``, ``row`` apart."""
    t0, s0 = index(t), index(s)
    for _ in range(rows):
        for v in range(index(vectors)):
            subtract(target, t0 + v * index(LANES), source, s0 + v * index(LANES), -factor)
        t0 += index(row)
        s0 += index(source_row)


@compiled
def synthesize(codes: Array, atoms: Array, places: tuple[int, int, int, int], out: Array, begin: int, end: int) -> None:
    """Add R ⊛ Ω to canvases, for samples ``begin`` to ``end`` − 1.

    Args:
        codes: R, (B, F, h, w).
        atoms: Ω as (F, k, ≥ k·C), flat.
        places: see above.
        out: zeros (B, H'·W'·C + LANES), takes the canvases.
        begin, end: the range of samples.
    """
    _, features, height, width = codes.shape
    pixel_row, row, step, kernel_size = places
    length = len(atoms) // (features * kernel_size)
    for b in range(begin, end):
        for f in range(features):
            for y in range(height):
                for x in range(width):
                    code = codes[b, f, y, x]
                    if code != 0:
                        at, atom = y * row + x * step, f * kernel_size * length
                        add_patch(out[b], at, pixel_row, atoms, atom, length, kernel_size, length // LANES, code)


@compiled
def correlate(
    codes: Array, canvases: Array, places: tuple[int, int, int, int], out: Array, begin: int, end: int
) -> None:
    """Add corr(R, canvas) to ``out``, flat (F, k, ≥ k·C), over samples ``begin`` to ``end`` − 1; see `synthesize`.

    What lies past k·C in a row of ``out`` has no meaning.
    """
    _, features, height, width = codes.shape
    pixel_row, row, step, kernel_size = places
    length = len(out) // (features * kernel_size)
    for b in range(begin, end):
        for f in range(features):
            for y in range(height):
                for x in range(width):
                    code = codes[b, f, y, x]
                    if code != 0:
                        at, atom = y * row + x * step, f * kernel_size * length
                        add_patch(out, atom, length, canvases[b], at, pixel_row, kernel_size, length // LANES, code)
