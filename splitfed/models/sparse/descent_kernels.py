"""The compiled loops of `lgcd`: coordinate descent over one sample at a time.

Codes and correlations of a sample lie channels-last, their features filled up to a multiple of ``LANES`` by atoms of
zeros, which never become active. A step changes then whole vectors in a few contiguous rows. Sums are taken in
the order in which they are written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitfed.models.sparse.compiled import LANES, Array, compiled, index
from splitfed.models.sparse.image_kernels import aligned_zeros, channels_last, hand_over, take_up
from splitfed.models.sparse.vectors import POSITIONS, furthest, movers, project, raise_to, subtract

DECAY = 0.7
"""From one level of the threshold to the next."""
OVERSHOOT = 1.4
"""How far a step goes, as a share of the way to the coefficient's own minimum, once the threshold is below λ: steps
are then corrections among active neighbors, which over-relaxation halves (Cryer 1971: any share below 2 converges).
Larger steps choose the active set and are exact."""
_TRIES = 64
"""Steps among the coefficients of one vector before the sweep goes on."""
_SLACK, _ROUNDING = 1.05, 1e-5
"""Within what the running estimate of the gap is trusted: it is computed anew before it ends a solve."""


@compiled
def _inhibit(
    correlations: Array, y: int, x: int, f: int, gram: Array, shape: tuple[int, int, int, int], step: float
) -> None:
    """Take what a coefficient's step explains out of every correlation that its atom touches."""
    height, width, features, reach = shape
    side = 2 * reach + 1
    top, bottom = max(y - reach, 0), min(y + reach + 1, height)
    left, right = max(x - reach, 0), min(x + reach + 1, width)
    start = index((top * width + left) * features)
    g = index(((f * side + top - y + reach) * side + left - x + reach) * features)
    vectors = (right - left) * features // LANES
    for _ in range(bottom - top):
        c0, g0 = start, g
        for _ in range(vectors):
            subtract(correlations, c0, gram, g0, step)
            c0 += index(LANES)
            g0 += index(LANES)
        start += index(width * features)
        g += index(side * features)


@compiled
def _next_mover(correlations: Array, codes: Array, at: int, vectors: int, l1_weight: float, threshold: float) -> int:
    """The first of these vectors in which a coefficient would move by more than the threshold; their number if none."""
    i = index(at)
    for v in range(vectors):
        if movers(correlations, i, codes, i, l1_weight, threshold) != 0:
            return v
        i += index(LANES)
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
    l1_weight: float,
    threshold: float,
    sums: Array,
) -> int:
    """One pass over the image, taking every step above the threshold; how many there were.

    Rows that are ``quiet``, without a step at this threshold and near none since, are left out. ``sums`` follows
    Σ R, ⟨R, Ψ⟩ and ‖residual‖².
    """
    height, width, features, reach = shape
    share = correlations.dtype.type(OVERSHOOT if threshold < l1_weight else 1.0)
    vectors = width * features // LANES
    steps = 0
    for y in range(height):
        if quiet[y]:
            continue
        quiet[y] = True
        before = steps
        row, v = y * width * features, 0
        while v < vectors:
            v += _next_mover(correlations, codes, row + v * LANES, vectors - v, l1_weight, threshold)
            if v == vectors:
                break
            i = index(row + v * LANES)
            x, f0 = v * LANES // features, v * LANES % features
            for _ in range(_TRIES):
                lane = index(furthest(correlations, i, codes, i, l1_weight))
                correlation, code = correlations[i + lane], codes[i + lane]
                full = (correlation - l1_weight) * inverse_norms[index(f0) + lane]
                step = max(share * full, -code)
                codes[i + lane] = code + step
                _inhibit(correlations, y, x, f0 + int(lane), gram, shape, step)
                change = np.float64(step)
                sums[0] += change
                sums[1] += change * np.float64(drive[i + lane])
                sums[2] -= change * (np.float64(correlation) + np.float64(correlations[i + lane]))
                steps += 1
                if movers(correlations, i, codes, i, l1_weight, threshold) == 0:
                    break
            v += 1
        if steps > before:
            for near in range(max(y - reach, 0), min(y + reach + 1, height)):
                quiet[near] = False
    return steps


@compiled
def _relative_gap(sums: Array, l1_weight: float, energy: float, largest: float) -> float:
    """The duality gap of `problem.certify`.

    Args:
        sums: Σ R, ⟨R, Ψ⟩ and ‖residual‖², where Ψ = ΩᵀX: ⟨X, residual⟩ = ‖X‖² − ⟨R, Ψ⟩.
        l1_weight: λ.
        energy: ‖X‖².
        largest: no less than any correlation of an atom with the residual.
    """
    overlap, residual = energy - sums[1], max(sums[2], 0.0)
    scale = overlap / residual if residual > 0 else 0.0
    if largest > 0:
        scale = min(scale, l1_weight / largest)
    scale = max(scale, 0.0)
    gap = residual / 2 + l1_weight * sums[0] - scale * overlap + scale * scale * residual / 2
    return max(gap, 0.0) / (energy / 2) if energy > 0 else 0.0


@compiled
def _sum_up(correlations: Array, codes: Array, drive: Array, energy: float, sums: Array) -> None:
    """Compute ``sums`` anew, with β = Ωᵀ residual: ‖residual‖² = ‖X‖² − ⟨R, Ψ⟩ − ⟨R, β⟩."""
    total = explained = left_over = 0.0
    for i in range(index(len(codes))):
        code = codes[i]
        total += np.float64(code)
        explained += np.float64(code * drive[i])
        left_over += np.float64(code * correlations[i])
    sums[0], sums[1], sums[2] = total, explained, energy - explained - left_over


@compiled
def _load(
    drive: Array, codes: Array, started: bool, correlations: Array, gram: Array, shape: tuple[int, int, int, int]
) -> None:
    """Set a sample's correlations to what they are for its codes. Without ``started``, all codes are zero."""
    _, width, features, _ = shape
    for i in range(index(len(codes))):
        correlations[i] = drive[i]
    if not started:
        return
    for i in range(len(codes)):
        if codes[i] != 0:
            p = i // features
            _inhibit(correlations, p // width, p % width, i % features, gram, shape, codes[i])


@compiled
def _largest(numbers: Array) -> Any:
    """The largest number; zero if all are less."""
    best = np.zeros(LANES, numbers.dtype)
    for at in range(0, len(numbers), LANES):
        raise_to(best, index(0), numbers, index(at))
    return best.max()


@compiled
def _energy(canvas: Array) -> Any:
    """‖X‖²."""
    total = 0.0
    for i in range(len(canvas)):
        total += np.float64(canvas[i]) * np.float64(canvas[i])
    return total


@compiled
def _analyze(
    image: Array, atoms: Array, shape: tuple[int, int, int, int], places: tuple[int, int, int, int], drive: Array
) -> None:
    """Ψ = ΩᵀX of one sample, (h, w, F'); some numbers past its end are overwritten."""
    height, width, features, _ = shape
    pixel_row, row, step, kernel_size = places
    length = len(atoms) // (features * kernel_size)
    for y in range(height):
        for x in range(0, width, POSITIONS):
            at, patch = (y * width + x) * features, y * row + x * step
            for f in range(0, features, LANES):
                project(
                    drive,
                    index(at + f),
                    image,
                    index(patch),
                    index(pixel_row),
                    index(step),
                    atoms,
                    index(f),
                    index(features),
                    index(kernel_size),
                    index(length),
                )


@compiled
def descend(
    canvases: Array,
    starts: Array,
    atoms: Array,
    gram: Array,
    inverse_norms: Array,
    shape: tuple[int, int, int, int],
    places: tuple[int, int, int, int],
    l1_weight: float,
    tolerance: float,
    max_sweeps: int,
    out: Array,
    out_gap: Array,
    out_sweeps: Array,
    out_steps: Array,
    out_active: Array,
    first: int,
    last: int,
) -> None:
    """Solve samples ``first`` to ``last`` − 1 by locally greedy coordinate descent; see `lgcd.lgcd`.

    Args:
        canvases: X, (B, C·H'·W').
        starts: codes to begin with, (B, F·h·w), ≥ 0; (0, 0) for zeros.
        atoms: Ω as (k, k·C, F'), flat, F' the filled-up features.
        gram: `spectrum.gram_kernel` as (F, 2·reach + 1, 2·reach + 1, F'), flat.
        inverse_norms: one over the squared norm of each atom, (F',).
        shape: h, w, F', and the positions between two atoms that still touch.
        places: as in `image_kernels`, pixel_row, row, step and kernel_size.
        l1_weight: λ, of the arrays' dtype.
        tolerance: the relative duality gap at which a sample is solved.
        max_sweeps: the most sweeps over a sample.
        out: zeros (B, F·h·w), takes the codes.
        out_gap, out_sweeps, out_active: take what `Solution` reports, (B,).
        out_steps: takes the number of single steps, (B,).
        first, last: the range of samples.
    """
    height, width, features, _ = shape
    kernel_size, positions = places[3], height * width
    channels = len(atoms) // (features * kernel_size * kernel_size)
    number = canvases.dtype
    image = aligned_zeros(canvases.shape[1] + LANES + POSITIONS * places[2], number)
    drive = aligned_zeros((positions + POSITIONS) * features, number)
    codes = aligned_zeros(positions * features, number)
    correlations = aligned_zeros(positions * features, number)
    quiet = np.zeros(height, np.bool_)
    sums = np.zeros(3, np.float64)
    for b in range(first, last):
        channels_last(canvases[b], channels, image)
        _analyze(image, atoms, shape, places, drive)
        if len(starts) > 0:
            take_up(starts[b], positions, codes)
        energy = _energy(canvases[b])
        highest = _largest(codes)
        _load(drive, codes, highest > 0, correlations, gram, shape)
        largest = _largest(correlations)
        _sum_up(correlations, codes, drive, energy, sums)
        gap = _relative_gap(sums, l1_weight, energy, largest)
        # No step is longer than this: up to the largest correlation, or down to zero.
        step = max(largest - l1_weight, highest)
        threshold, sweeps = number.type(step * DECAY), 0
        quiet[:] = False
        out_steps[b] = 0
        while gap > tolerance and sweeps < max_sweeps:
            sweeps += 1
            steps = _sweep(correlations, codes, drive, gram, inverse_norms, quiet, shape, l1_weight, threshold, sums)
            out_steps[b] += steps
            if steps > 0:
                continue
            # No step above the threshold is left, so no correlation exceeds λ by more than it.
            estimate = _relative_gap(sums, l1_weight, energy, l1_weight + threshold)
            if estimate <= _SLACK * tolerance + _ROUNDING:
                _sum_up(correlations, codes, drive, energy, sums)
                gap = _relative_gap(sums, l1_weight, energy, l1_weight + threshold)
            threshold = number.type(threshold * DECAY)
            quiet[:] = False
        if gap > tolerance:
            largest = _largest(correlations)
            _sum_up(correlations, codes, drive, energy, sums)
            gap = _relative_gap(sums, l1_weight, energy, largest)
        out_active[b] = hand_over(codes, positions, out[b])
        out_gap[b], out_sweeps[b] = gap, sweeps
