"""The compiled loops of `lgcd`: coordinate descent over one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitfed.models.sparse.compiled import Array, compiled, index

SEGMENT = 2
"""Neighbouring positions among which the largest step is taken first."""
DECAY = 0.5
"""From one level of the threshold to the next."""


@compiled
def _count_steps(
    correlations: Array, c0: int, codes: Array, r0: int, length: int, sparsity: float, threshold: float
) -> int:
    """How many of these coefficients would move by more than the threshold."""
    c, r, count = index(c0), index(r0), 0
    for j in range(index(length)):
        step = max(correlations[c + j] - sparsity, -codes[r + j])
        count += 1 if abs(step) > threshold else 0
    return count


@compiled
def _largest_step(correlations: Array, c0: int, codes: Array, r0: int, length: int, sparsity: float) -> int:
    """Which of these coefficients would move furthest."""
    c, r, position = index(c0), index(r0), 0
    best = sparsity - sparsity
    for j in range(length):
        step = abs(max(correlations[c + index(j)] - sparsity, -codes[r + index(j)]))
        if step > best:
            best, position = step, j
    return position


@compiled
def _inhibit(correlations: Array, c0: int, row: int, gram: Array, g0: int, side: int, span: int, step: float) -> None:
    """Take what a coefficient's step explains out of every correlation that its atom touches."""
    c, g, n = index(c0), index(g0), index(span)
    for _ in range(side):
        for j in range(n):
            correlations[c + j] -= step * gram[g + j]
        c += index(row)
        g += n


@compiled
def _sweep(
    correlations: Array,
    codes: Array,
    gram: Array,
    inverse_norms: Array,
    shape: tuple[int, int, int, int],
    sparsity: float,
    threshold: float,
) -> int:
    """One pass over the image, taking every step above the threshold; how many there were."""
    height, width, features, reach = shape
    row, side = (width + 2 * reach) * features, 2 * reach + 1
    span = side * features
    steps = 0
    for y in range(height):
        c_row, r_row = (y + reach) * row + reach * features, y * width * features
        if _count_steps(correlations, c_row, codes, r_row, width * features, sparsity, threshold) == 0:
            continue
        for left in range(0, width, SEGMENT):
            length = (min(left + SEGMENT, width) - left) * features
            c0, r0 = c_row + left * features, r_row + left * features
            while _count_steps(correlations, c0, codes, r0, length, sparsity, threshold) > 0:
                j = _largest_step(correlations, c0, codes, r0, length, sparsity)
                x, f = left + j // features, j % features
                step = max((correlations[c0 + j] - sparsity) * inverse_norms[f], -codes[r0 + j])
                codes[r0 + j] += step
                _inhibit(correlations, y * row + x * features, row, gram, f * side * span, side, span, step)
                steps += 1
    return steps


@compiled
def _relative_gap(
    correlations: Array,
    codes: Array,
    drive: Array,
    shape: tuple[int, int, int, int],
    sparsity: float,
    energy: float,
    largest: float,
) -> float:
    """The duality gap of `problem.certify`, from correlations and codes alone.

    With Ψ = ΩᵀX and β = Ωᵀ(X − ΩR): ⟨X, residual⟩ = ‖X‖² − ⟨R, Ψ⟩ and ‖residual‖² = ‖X‖² − ⟨R, Ψ⟩ − ⟨R, β⟩.
    """
    height, width, features, reach = shape
    row = width * features
    total = explained = left_over = 0.0
    for y in range(height):
        c, r = index((y + reach) * (width + 2 * reach) * features + reach * features), index(y * row)
        for j in range(index(row)):
            code = codes[r + j]
            total += np.float64(code)
            explained += np.float64(code * drive[r + j])
            left_over += np.float64(code * correlations[c + j])
    overlap = energy - explained
    residual = max(overlap - left_over, 0.0)
    scale = overlap / residual if residual > 0 else 0.0
    if largest > 0:
        scale = min(scale, sparsity / largest)
    scale = max(scale, 0.0)
    gap = residual / 2 + sparsity * total - scale * overlap + scale * scale * residual / 2
    return max(gap, 0.0) / (energy / 2) if energy > 0 else 0.0


@compiled
def _load(
    drive: Array,
    start: Array,
    own_drive: Array,
    correlations: Array,
    codes: Array,
    gram: Array,
    shape: tuple[int, int, int, int],
) -> None:
    """Lay a sample (F, h, w) out for `_sweep`, its correlations as they are for the codes to start with."""
    height, width, features, reach = shape
    row, side = (width + 2 * reach) * features, 2 * reach + 1
    span = side * features
    correlations[:] = 0
    for y in range(height):
        for x in range(width):
            for f in range(features):
                r = (y * width + x) * features + f
                own_drive[r] = drive[f, y, x]
                codes[r] = start[f, y, x]
                correlations[(y + reach) * row + (x + reach) * features + f] = drive[f, y, x]
    for y in range(height):
        for x in range(width):
            for f in range(features):
                code = codes[(y * width + x) * features + f]
                if code != 0:
                    _inhibit(correlations, y * row + x * features, row, gram, f * side * span, side, span, code)


@compiled
def _largest_of(correlations: Array, codes: Array, shape: tuple[int, int, int, int], sparsity: float) -> Any:
    """The largest correlation, and the largest step that any coefficient would take."""
    height, width, features, reach = shape
    correlation = correlations[(reach * (width + 2 * reach) + reach) * features]
    step = sparsity - sparsity
    for y in range(height):
        c, r = ((y + reach) * (width + 2 * reach) + reach) * features, y * width * features
        for j in range(width * features):
            correlation = max(correlation, correlations[c + j])
            step = max(step, abs(max(correlations[c + j] - sparsity, -codes[r + j])))
    return correlation, step


@compiled
def descend(
    drive: Array,
    energy: Array,
    gram: Array,
    inverse_norms: Array,
    sparsity: float,
    tolerance: float,
    max_sweeps: int,
    out_codes: Array,
    out_gap: Array,
    out_sweeps: Array,
    out_steps: Array,
    first: int,
    last: int,
) -> None:
    """Solve samples ``first`` to ``last`` − 1 by locally greedy coordinate descent; see `lgcd.lgcd`.

    Args:
        drive: Ψ = ΩᵀX, (B, F, h, w).
        energy: ‖X‖², (B,), float64.
        gram: `spectrum.gram_kernel` as (F, 2·reach + 1, 2·reach + 1, F), flat.
        inverse_norms: one over the squared norm of each atom, (F,).
        sparsity: λ, of the arrays' dtype.
        tolerance: the relative duality gap at which a sample is solved.
        max_sweeps: the most sweeps over a sample.
        out_codes: codes to begin with, (B, F, h, w), ≥ 0; takes the solution.
        out_gap, out_sweeps, out_steps: take what `Solution` reports, and the number of single steps, (B,).
        first, last: the range of samples.
    """
    _, features, height, width = drive.shape
    reach = int(np.sqrt(gram.size // (features * features))) // 2
    shape = (height, width, features, reach)
    correlations = np.empty((height + 2 * reach) * (width + 2 * reach) * features, drive.dtype)
    codes = np.empty(height * width * features, drive.dtype)
    own_drive = np.empty(height * width * features, drive.dtype)
    for b in range(first, last):
        _load(drive[b], out_codes[b], own_drive, correlations, codes, gram, shape)
        largest, step = _largest_of(correlations, codes, shape, sparsity)
        gap = _relative_gap(correlations, codes, own_drive, shape, sparsity, energy[b], largest)
        threshold, sweeps = drive.dtype.type(step * DECAY), 0
        out_steps[b] = 0
        while gap > tolerance and sweeps < max_sweeps:
            sweeps += 1
            steps = _sweep(correlations, codes, gram, inverse_norms, shape, sparsity, threshold)
            out_steps[b] += steps
            if steps > 0:
                continue
            # No step above the threshold is left, so no correlation exceeds λ by more than it.
            gap = _relative_gap(correlations, codes, own_drive, shape, sparsity, energy[b], sparsity + threshold)
            threshold = drive.dtype.type(threshold * DECAY)
        if gap > tolerance:
            largest, step = _largest_of(correlations, codes, shape, sparsity)
            gap = _relative_gap(correlations, codes, own_drive, shape, sparsity, energy[b], largest)
        out_gap[b], out_sweeps[b] = gap, sweeps
        for y in range(height):
            for x in range(width):
                for f in range(features):
                    out_codes[b, f, y, x] = codes[(y * width + x) * features + f]
