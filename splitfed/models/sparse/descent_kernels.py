"""The compiled loops of `lgcd`: coordinate descent over one sample at a time.

Codes and correlations of a sample lie channels-last, their features filled up to a multiple of ``LANES`` by atoms of
zeros, which never become active; around the correlations lies a margin as wide as an atom reaches. A step changes
then whole vectors in a few contiguous rows, wherever it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitfed.models.sparse.compiled import LANES, Array, compiled, index
from splitfed.models.sparse.vectors import furthest, movers, raise_to, subtract

DECAY = 0.7
"""From one level of the threshold to the next."""
OVERSHOOT = 1.4
"""How far a step goes, as a share of the way to the coefficient's own minimum, once the threshold is below λ: steps
are then corrections among active neighbours, which over-relaxation halves (Cryer 1971: any share below 2 converges).
Larger steps choose the active set and are exact."""
_TRIES = 64
"""Steps among the coefficients of one vector before the sweep goes on."""
_SLACK, _ROUNDING = 1.05, 1e-5
"""Within what the running estimate of the gap is trusted: it is computed anew before it ends a solve."""


@compiled
def _inhibit(correlations: Array, c: int, row: int, gram: Array, g: int, side: int, vectors: int, step: float) -> None:
    """Take what a coefficient's step explains out of every correlation that its atom touches."""
    start, g0 = index(c), index(g)
    for _ in range(side):
        c0 = start
        for _ in range(vectors):
            subtract(correlations, c0, gram, g0, step)
            c0 += index(LANES)
            g0 += index(LANES)
        start += index(row)


@compiled
def _next_mover(
    correlations: Array, c: int, codes: Array, r: int, vectors: int, sparsity: float, threshold: float
) -> int:
    """The first of these vectors in which a coefficient would move by more than the threshold; their number if none."""
    c0, r0 = index(c), index(r)
    for v in range(vectors):
        if movers(correlations, c0, codes, r0, sparsity, threshold) != 0:
            return v
        c0 += index(LANES)
        r0 += index(LANES)
    return vectors


@compiled
def _sweep(
    correlations: Array,
    codes: Array,
    drive: Array,
    gram: Array,
    inverse_norms: Array,
    quiet: Array,
    shape: tuple[int, int, int, int],
    sparsity: float,
    threshold: float,
    sums: Array,
) -> int:
    """One pass over the image, taking every step above the threshold; how many there were.

    Rows that are ``quiet``, without a step at this threshold and near none since, are left out. ``sums`` follows
    Σ R, ⟨R, Ψ⟩ and ‖residual‖².
    """
    height, width, features, reach = shape
    row, side = (width + 2 * reach) * features, 2 * reach + 1
    vectors = side * features // LANES
    share = OVERSHOOT if threshold < sparsity else 1.0
    steps = 0
    for y in range(height):
        if quiet[y]:
            continue
        quiet[y] = True
        before = steps
        c0, r0 = (y + reach) * row + reach * features, y * width * features
        v, last = 0, width * features // LANES
        while v < last:
            at = v * LANES
            v += _next_mover(correlations, c0 + at, codes, r0 + at, last - v, sparsity, threshold)
            if v == last:
                break
            c, r = index(c0 + v * LANES), index(r0 + v * LANES)
            x, f0 = v * LANES // features, v * LANES % features
            for _ in range(_TRIES):
                lane = index(furthest(correlations, c, codes, r, sparsity))
                correlation, code = correlations[c + lane], codes[r + lane]
                full = (correlation - sparsity) * inverse_norms[index(f0) + lane]
                step = max(correlations.dtype.type(share) * full, -code)
                codes[r + lane] = code + step
                g = (f0 + int(lane)) * side * side * features
                _inhibit(correlations, y * row + x * features, row, gram, g, side, vectors, step)
                change = np.float64(step)
                sums[0] += change
                sums[1] += change * np.float64(drive[r + lane])
                sums[2] -= change * (np.float64(correlation) + np.float64(correlations[c + lane]))
                steps += 1
                if movers(correlations, c, codes, r, sparsity, threshold) == 0:
                    break
            v += 1
        if steps > before:
            for near in range(max(y - reach, 0), min(y + reach + 1, height)):
                quiet[near] = False
    return steps


@compiled
def _relative_gap(sums: Array, sparsity: float, energy: float, largest: float) -> float:
    """The duality gap of `problem.certify`.

    Args:
        sums: Σ R, ⟨R, Ψ⟩ and ‖residual‖², where Ψ = ΩᵀX: ⟨X, residual⟩ = ‖X‖² − ⟨R, Ψ⟩.
        sparsity: λ.
        energy: ‖X‖².
        largest: no less than any correlation of an atom with the residual.
    """
    overlap, residual = energy - sums[1], max(sums[2], 0.0)
    scale = overlap / residual if residual > 0 else 0.0
    if largest > 0:
        scale = min(scale, sparsity / largest)
    scale = max(scale, 0.0)
    gap = residual / 2 + sparsity * sums[0] - scale * overlap + scale * scale * residual / 2
    return max(gap, 0.0) / (energy / 2) if energy > 0 else 0.0


@compiled
def _sum_up(
    correlations: Array, codes: Array, drive: Array, shape: tuple[int, int, int, int], energy: float, sums: Array
) -> None:
    """Compute ``sums`` anew, with β = Ωᵀ residual: ‖residual‖² = ‖X‖² − ⟨R, Ψ⟩ − ⟨R, β⟩."""
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
    sums[0], sums[1], sums[2] = total, explained, energy - explained - left_over


@compiled
def _load(
    drive: Array, codes: Array, started: bool, correlations: Array, gram: Array, shape: tuple[int, int, int, int]
) -> None:
    """Set a sample's correlations to what they are for its codes; those in the margin are never read.

    Without ``started``, all codes are zero.
    """
    height, width, features, reach = shape
    row, side = (width + 2 * reach) * features, 2 * reach + 1
    for y in range(height):
        c, r = index((y + reach) * row + reach * features), index(y * width * features)
        for j in range(index(width * features)):
            correlations[c + j] = drive[r + j]
    if not started:
        return
    for i in range(len(codes)):
        if codes[i] != 0:
            p, f = i // features, i % features
            at, g = p // width * row + p % width * features, f * side * side * features
            _inhibit(correlations, at, row, gram, g, side, side * features // LANES, codes[i])


@compiled
def _largest(rows: Array, first: int, apart: int, count: int, length: int) -> Any:
    """The largest number in ``count`` rows of this length, so far ``apart``; zero if all are less."""
    best = np.zeros(LANES, rows.dtype)
    for y in range(count):
        at = index(first + y * apart)
        for _ in range(length // LANES):
            raise_to(best, index(0), rows, at)
            at += index(LANES)
    return best.max()


@compiled
def descend(
    drive: Array,
    energy: Array,
    gram: Array,
    inverse_norms: Array,
    height: int,
    width: int,
    reach: int,
    sparsity: float,
    tolerance: float,
    max_sweeps: int,
    codes: Array,
    out_gap: Array,
    out_sweeps: Array,
    out_steps: Array,
    first: int,
    last: int,
) -> None:
    """Solve samples ``first`` to ``last`` − 1 by locally greedy coordinate descent; see `lgcd.lgcd`.

    Args:
        drive: Ψ = ΩᵀX, (B, h·w·F'), F' the filled-up features.
        energy: ‖X‖², (B,), float64.
        gram: `spectrum.gram_kernel` as (F, 2·reach + 1, 2·reach + 1, F'), flat.
        inverse_norms: one over the squared norm of each atom, (F',).
        height, width: h and w.
        reach: positions between two atoms that still touch.
        sparsity: λ, of the arrays' dtype.
        tolerance: the relative duality gap at which a sample is solved.
        max_sweeps: the most sweeps over a sample.
        codes: those to begin with, (B, h·w·F'), ≥ 0; takes the solution.
        out_gap, out_sweeps, out_steps: take what `Solution` reports, and the number of single steps, (B,).
        first, last: the range of samples.
    """
    features = len(inverse_norms)
    shape = (height, width, features, reach)
    wide, length = (width + 2 * reach) * features, width * features
    middle = reach * wide + reach * features
    correlations = np.zeros((height + 2 * reach) * wide, drive.dtype)
    quiet = np.zeros(height, np.bool_)
    sums = np.zeros(3, np.float64)
    for b in range(first, last):
        highest = _largest(codes[b], 0, length, height, length)
        _load(drive[b], codes[b], highest > 0, correlations, gram, shape)
        largest = _largest(correlations, middle, wide, height, length)
        _sum_up(correlations, codes[b], drive[b], shape, energy[b], sums)
        gap = _relative_gap(sums, sparsity, energy[b], largest)
        # No step is longer than this: up to the largest correlation, or down to zero.
        step = max(largest - sparsity, highest)
        threshold, sweeps = drive.dtype.type(step * DECAY), 0
        quiet[:] = False
        out_steps[b] = 0
        while gap > tolerance and sweeps < max_sweeps:
            sweeps += 1
            steps = _sweep(
                correlations, codes[b], drive[b], gram, inverse_norms, quiet, shape, sparsity, threshold, sums
            )
            out_steps[b] += steps
            if steps > 0:
                continue
            # No step above the threshold is left, so no correlation exceeds λ by more than it.
            estimate = _relative_gap(sums, sparsity, energy[b], sparsity + threshold)
            if estimate <= _SLACK * tolerance + _ROUNDING:
                _sum_up(correlations, codes[b], drive[b], shape, energy[b], sums)
                gap = _relative_gap(sums, sparsity, energy[b], sparsity + threshold)
            threshold = drive.dtype.type(threshold * DECAY)
            quiet[:] = False
        if gap > tolerance:
            largest = _largest(correlations, middle, wide, height, length)
            _sum_up(correlations, codes[b], drive[b], shape, energy[b], sums)
            gap = _relative_gap(sums, sparsity, energy[b], largest)
        out_gap[b], out_sweeps[b] = gap, sweeps
