"""The compiled loops of the backward pass: a linear system on the active codes of one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitfed.models.sparse.compiled import Array, compiled, index


@compiled
def _active_set(codes: Array, starts: Array, places: Array) -> int:
    """List the active codes of a sample (F, h, w) by position: ``starts`` (h·w + 1) says where each position's begin.

    ``places`` takes their features, (F·h·w,). Returns how many there are.
    """
    features, height, width = codes.shape
    count = 0
    for y in range(height):
        for x in range(width):
            starts[y * width + x] = count
            for f in range(features):
                if codes[f, y, x] > 0:
                    places[count] = f
                    count += 1
    starts[height * width] = count
    return count


@compiled
def _rows(starts: Array, height: int, width: int, reach: int, first: Array, length: Array) -> int:
    """Which earlier active codes overlap with each one: in each of reach + 1 rows of positions, a run of the list.

    Returns the total number of overlaps.
    """
    runs, i, total = reach + 1, 0, 0
    for y in range(height):
        for x in range(width):
            left, right = max(x - reach, 0), min(x + reach, width - 1) + 1
            for _ in range(starts[y * width + x], starts[y * width + x + 1]):
                for d in range(runs):
                    row = (y + d - reach) * width
                    begin = starts[row + left] if row >= 0 else 0
                    end = starts[row + right] if row >= 0 else 0
                    first[i * runs + d] = begin
                    length[i * runs + d] = (end if d < reach else i) - begin
                    total += length[i * runs + d]
                i += 1
    return total


@compiled
def _overlaps(keys: Array, first: Array, length: Array, reach: int, features: int, gram: Array, values: Array) -> None:
    """L, what lies below the diagonal of A on the active set, in the order of `_rows`.

    ``keys`` are x·F + f of each active code.
    """
    side, runs, k = 2 * reach + 1, reach + 1, index(0)
    for i in range(len(keys)):
        x, f = int(keys[i]) // features, int(keys[i]) % features
        for d in range(runs):
            base = index(((f * side + d) * side + reach - x) * features)
            j0, n = index(first[i * runs + d]), index(length[i * runs + d])
            for j in range(n):
                values[k + j] = gram[base + keys[j0 + j]]
            k += n


@compiled
def _solve_lower(values: Array, first: Array, length: Array, runs: int, vector: Array) -> None:
    """Replace ``vector`` by (I + L)⁻¹ times it."""
    k = index(0)
    for i in range(len(vector)):
        total = vector[i]
        for d in range(i * runs, (i + 1) * runs):
            q, n = index(first[d]), index(length[d])
            for j in range(n):
                total -= values[k + j] * vector[q + j]
            k += n
        vector[i] = total


@compiled
def _solve_upper(values: Array, first: Array, length: Array, runs: int, vector: Array) -> None:
    """Replace ``vector`` by (I + Lᵀ)⁻¹ times it."""
    k = index(len(values))
    for i in range(len(vector) - 1, -1, -1):
        known = vector[i]
        for d in range((i + 1) * runs - 1, i * runs - 1, -1):
            q, n = index(first[d]), index(length[d])
            k -= n
            for j in range(n):
                vector[q + j] -= values[k + j] * known


@compiled
def _conjugate_gradients(
    values: Array,
    first: Array,
    length: Array,
    runs: int,
    right: Array,
    solution: Array,
    tolerance: float,
    max_iterations: int,
) -> Any:
    """Solve A v = g, A with ones on its diagonal; iterations, and the residual's norm as a share of g's.

    Preconditioned by symmetric Gauss-Seidel, (I + L)(I + Lᵀ), in Eisenstat's form (1981): with t = (I + Lᵀ)⁻¹p,
    (I + L)⁻¹ A (I + Lᵀ)⁻¹ p = t + (I + L)⁻¹(p − t), which costs no more than A p. Norms are those of the
    preconditioned system.
    """
    count = len(right)
    residual = right.copy()
    _solve_lower(values, first, length, runs, residual)
    direction, image, half = residual.copy(), np.empty_like(right), np.empty_like(right)
    solution[:] = 0
    energy = start = np.float64(np.dot(residual, residual))
    iterations = 0
    while iterations < max_iterations and energy > tolerance * tolerance * start:
        iterations += 1
        half[:] = direction
        _solve_upper(values, first, length, runs, half)
        for i in range(count):
            image[i] = direction[i] - half[i]
        _solve_lower(values, first, length, runs, image)
        for i in range(count):
            image[i] += half[i]
        curvature = np.float64(np.dot(direction, image))
        if curvature <= 0:
            break
        step = right.dtype.type(energy / curvature)
        for i in range(count):
            solution[i] += step * direction[i]
            residual[i] -= step * image[i]
        previous, energy = energy, np.float64(np.dot(residual, residual))
        turn = right.dtype.type(energy / previous)
        for i in range(count):
            direction[i] = residual[i] + turn * direction[i]
    _solve_upper(values, first, length, runs, solution)
    return iterations, np.sqrt(energy / start) if start > 0 else 0.0


@compiled
def adjoint(
    codes: Array,
    gradient: Array,
    gram: Array,
    scales: Array,
    tolerance: float,
    max_iterations: int,
    out: Array,
    out_residual: Array,
    out_iterations: Array,
    begin: int,
    end: int,
) -> None:
    """Solve (Ω_Sᵀ Ω_S + damping) v = g for samples ``begin`` to ``end`` − 1; see `gradient.solve_active`.

    Args:
        codes: whose active sets are meant, (B, F, h, w).
        gradient: g, (B, F, h, w); what lies outside S is not read.
        gram: as in `descend`, its rows and columns scaled so that, damping included, the diagonal is 1.
        scales: these scales, (F,).
        tolerance: the residual at which a sample is done, as a share of ‖g‖.
        max_iterations: the most that are spent.
        out: zeros (B, F, h, w), takes v.
        out_residual, out_iterations: take how far each sample got, (B,).
        begin, end: the range of samples.
    """
    _, features, height, width = codes.shape
    side = int(np.sqrt(gram.size // (features * features)))
    reach = side // 2
    runs = reach + 1
    starts = np.empty(height * width + 1, np.int64)
    places = np.empty(features * height * width, np.int64)
    for b in range(begin, end):
        count = _active_set(codes[b], starts, places)
        first, length = np.empty(count * runs, np.int64), np.empty(count * runs, np.int64)
        values = np.empty(_rows(starts, height, width, reach, first, length), codes.dtype)
        keys = np.empty(count, np.uintp)
        for p in range(height * width):
            for i in range(starts[p], starts[p + 1]):
                keys[i] = index(p % width * features + places[i])
        _overlaps(keys, first, length, reach, features, gram, values)
        right, solution = np.empty(count, codes.dtype), np.empty(count, codes.dtype)
        for p in range(height * width):
            for i in range(starts[p], starts[p + 1]):
                right[i] = scales[places[i]] * gradient[b, places[i], p // width, p % width]
        out_iterations[b], out_residual[b] = _conjugate_gradients(
            values, first, length, runs, right, solution, tolerance, max_iterations
        )
        for p in range(height * width):
            for i in range(starts[p], starts[p + 1]):
                out[b, places[i], p // width, p % width] = scales[places[i]] * solution[i]
