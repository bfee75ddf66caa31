"""The compiled loops between sparse codes and canvases, which touch active codes only.

A canvas is laid out channels-last, (H', W', C): a row of an atom is then k·C contiguous numbers.
"""

from __future__ import annotations

from splitfed.models.sparse.compiled import Array, compiled, index


@compiled
def synthesise(
    codes: Array, atoms: Array, kernel_size: int, stride: int, channels: int, out: Array, begin: int, end: int
) -> None:
    """Add R ⊛ Ω to ``out``, flat (B, H', W', C), for samples ``begin`` to ``end`` − 1.

    Args:
        codes: R, (B, F, h, w).
        atoms: Ω as (F, k, k, C), flat.
        kernel_size, stride, channels: k, the stride and C.
        out: zeros, takes the canvases.
        begin, end: the range of samples.
    """
    _, features, height, width = codes.shape
    row = (stride * (width - 1) + kernel_size) * channels
    canvas = (stride * (height - 1) + kernel_size) * row
    span = index(kernel_size * channels)
    for b in range(begin, end):
        for f in range(features):
            for y in range(height):
                for x in range(width):
                    code = codes[b, f, y, x]
                    if code == 0:
                        continue
                    p, q = index(b * canvas + y * stride * row + x * stride * channels), index(f * kernel_size) * span
                    for _ in range(kernel_size):
                        for j in range(span):
                            out[p + j] += code * atoms[q + j]
                        p += index(row)
                        q += span


@compiled
def correlate(
    codes: Array, canvas: Array, kernel_size: int, stride: int, channels: int, out: Array, begin: int, end: int
) -> None:
    """Add corr(R, canvas) to ``out``, flat (F, k, k, C), over samples ``begin`` to ``end`` − 1; see `synthesise`."""
    _, features, height, width = codes.shape
    row = (stride * (width - 1) + kernel_size) * channels
    size = (stride * (height - 1) + kernel_size) * row
    span = index(kernel_size * channels)
    for b in range(begin, end):
        for f in range(features):
            for y in range(height):
                for x in range(width):
                    code = codes[b, f, y, x]
                    if code == 0:
                        continue
                    p, q = index(b * size + y * stride * row + x * stride * channels), index(f * kernel_size) * span
                    for _ in range(kernel_size):
                        for j in range(span):
                            out[q + j] += code * canvas[p + j]
                        p += index(row)
                        q += span
