"""The compiled loops of the backward pass: a linear system on the active codes of one sample at a time.

The system's matrix, A_ij = ⟨atom i, atom j⟩, is never written out. Its triangles are applied in the image: what the
codes before one add up to is kept there, and the inner product with an atom is its row's sum. Atoms are scaled so
that the diagonal, damping included, is 1. Images and atoms are laid out as in `image_kernels`, and sums are
taken in the order in which they are written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitfed.models.sparse.compiled import LANES, Array, compiled, index
from splitfed.models.sparse.image_kernels import add_patch, aligned_zeros, channels_first, channels_last
from splitfed.models.sparse.vectors import inner, subtract


@compiled
def _active_set(codes: Array, row: int, step: int, size: int, codes_at: Array, places: Array, patches: Array) -> int:
    """List the active codes of a sample by position; returns how many there are.

    Args:
        codes: (F, h, w).
        row, step: numbers between code positions below and beside each other in the image.
        size: numbers in an atom.
        codes_at, places, patches: take where each code is, flat, and where its atom begins in the image and among
            the atoms, (F·h·w,).
    """
    features, height, width = codes.shape
    count = 0
    for y in range(height):
        for x in range(width):
            for f in range(features):
                if codes[f, y, x] > 0:
                    codes_at[count] = index((f * height + y) * width + x)
                    places[count] = index(y * row + x * step)
                    patches[count] = index(f * size)
                    count += 1
    return count


@compiled
def _solve(
    ascending: bool,
    vector: Array,
    places: Array,
    patches: Array,
    atoms: Array,
    image: Array,
    row: int,
    kernel_size: int,
    vectors: int,
) -> None:
    """Replace ``vector`` by (I + L)⁻¹ times it, or by (I + Lᵀ)⁻¹; ``image`` becomes what the result adds up to."""
    image[:] = 0
    for n in range(len(vector)):
        i = index(n if ascending else len(vector) - 1 - n)
        vector[i] -= inner(image, places[i], index(row), atoms, patches[i], index(kernel_size), index(vectors))
        add_patch(image, places[i], row, atoms, patches[i], vectors * LANES, kernel_size, vectors, vector[i])


@compiled
def _conjugate_gradients(
    right: Array,
    solution: Array,
    places: Array,
    patches: Array,
    atoms: Array,
    image: Array,
    drafts: tuple[Array, Array],
    row: int,
    kernel_size: int,
    vectors: int,
    tolerance: float,
    max_iterations: int,
) -> Any:
    """Solve A v = g, A with ones on its diagonal; iterations, and the residual's norm as a share of g's.

    Preconditioned by symmetric Gauss-Seidel, (I + L)(I + Lᵀ), in Eisenstat's form (1981): with t = (I + Lᵀ)⁻¹p,
    (I + L)⁻¹ A (I + Lᵀ)⁻¹ p = t + (I + L)⁻¹(p − t), which costs no more than A p. Norms are those of the
    preconditioned system. v is summed up from the t, and so is ``image``, what v adds up to; ``drafts`` is memory for
    two images.
    """
    count = len(right)
    residual, half_image, draft = right.copy(), drafts[0], drafts[1]
    _solve(True, residual, places, patches, atoms, draft, row, kernel_size, vectors)
    direction, product, half = residual.copy(), np.empty_like(right), np.empty_like(right)
    solution[:] = 0
    image[:] = 0
    energy = start = np.float64(np.dot(residual, residual))
    iterations = 0
    while iterations < max_iterations and energy > tolerance * tolerance * start:
        iterations += 1
        half[:] = direction
        _solve(False, half, places, patches, atoms, half_image, row, kernel_size, vectors)
        for i in range(count):
            product[i] = direction[i] - half[i]
        _solve(True, product, places, patches, atoms, draft, row, kernel_size, vectors)
        for i in range(count):
            product[i] += half[i]
        curvature = np.float64(np.dot(direction, product))
        if curvature <= 0:
            break
        step = right.dtype.type(energy / curvature)
        for i in range(count):
            solution[i] += step * half[i]
            residual[i] -= step * product[i]
        for i in range(index(len(image))):
            image[i] += step * half_image[i]
        previous, energy = energy, np.float64(np.dot(residual, residual))
        turn = right.dtype.type(energy / previous)
        for i in range(count):
            direction[i] = residual[i] + turn * direction[i]
    return iterations, np.sqrt(energy / start) if start > 0 else 0.0


@compiled
def _take_out(
    weights: Array, places: Array, patches: Array, atoms: Array, image: Array, row: int, kernel_size: int, vectors: int
) -> None:
    """Subtract what these codes add up to from ``image``."""
    for i in range(len(weights)):
        at = index(i)
        add_patch(image, places[at], row, atoms, patches[at], vectors * LANES, kernel_size, vectors, -weights[at])


@compiled
def _add_outer(
    solution: Array,
    weights: Array,
    places: Array,
    patches: Array,
    residual: Array,
    image: Array,
    row: int,
    kernel_size: int,
    vectors: int,
    out: Array,
) -> None:
    """Add corr(v, residual) − corr(R, Ω_S v) to ``out``, laid out as the atoms are."""
    for i in range(len(weights)):
        at, adjoint_code, code = index(i), solution[index(i)], weights[index(i)]
        p, a = places[at], patches[at]
        for _ in range(kernel_size):
            for v in range(index(vectors)):
                offset = v * index(LANES)
                subtract(out, a + offset, residual, p + offset, -adjoint_code)
                subtract(out, a + offset, image, p + offset, code)
            p += index(row)
            a += index(vectors * LANES)


@compiled
def adjoint(
    codes: Array,
    gradient: Array,
    canvases: Array,
    atoms: Array,
    scales: Array,
    geometry: tuple[int, int, int, int],
    channels: int,
    tolerance: float,
    max_iterations: int,
    out: Array,
    out_residual: Array,
    out_iterations: Array,
    out_atoms: Array,
    begin: int,
    end: int,
) -> None:
    """For samples ``begin`` to ``end`` − 1, solve (Ω_Sᵀ Ω_S + ε) v = g, and what follows from it.

    Args:
        codes: R, whose active sets are meant, (B, F, h, w).
        gradient: g, (B, F·h·w); what lies outside S is not read.
        canvases: X, (B, C·H'·W').
        atoms: scaled so that each has norm 1, damping included, (F, k, ≥ k·C), flat.
        scales: these scales, (F,).
        geometry: ``places`` of `image_kernels`.
        channels: C.
        tolerance: the residual at which a sample is done, as a share of ‖g‖.
        max_iterations: the most that are spent.
        out: takes Ω_S v, (B, C·H'·W').
        out_residual, out_iterations: take how far each sample got, (B,).
        out_atoms: corr(v, X − R ⊛ Ω) − corr(R, Ω_S v) is added to it, laid out as ``atoms``; what lies past k·C in a
            row has no meaning. (0,) if it is not wanted.
        begin, end: the range of samples.
    """
    pixel_row, row, step, kernel_size = geometry
    features, positions = codes.shape[1], codes.shape[2] * codes.shape[3]
    vectors = len(atoms) // (features * kernel_size * LANES)
    codes_at = np.empty(features * positions, np.uintp)
    places, patches = np.empty_like(codes_at), np.empty_like(codes_at)
    image = aligned_zeros(canvases.shape[1] + LANES, codes.dtype)
    residual = aligned_zeros(canvases.shape[1] + LANES, codes.dtype)
    draft = aligned_zeros(canvases.shape[1] + LANES, codes.dtype)
    for b in range(begin, end):
        count = _active_set(codes[b], row, step, kernel_size * vectors * LANES, codes_at, places, patches)
        right, solution = np.empty(count, codes.dtype), np.empty(count, codes.dtype)
        weights = np.empty(count, codes.dtype)
        flat = codes[b].ravel()
        for i in range(count):
            scale = scales[codes_at[i] // index(positions)]
            right[i] = scale * gradient[b, codes_at[i]]
            weights[i] = flat[codes_at[i]] / scale
        out_iterations[b], out_residual[b] = _conjugate_gradients(
            right,
            solution,
            places,
            patches,
            atoms,
            image,
            (residual, draft),
            pixel_row,
            kernel_size,
            vectors,
            tolerance,
            max_iterations,
        )
        channels_first(image, channels, out[b])
        if len(out_atoms) == 0:
            continue
        channels_last(canvases[b], channels, residual)
        _take_out(weights, places, patches, atoms, residual, pixel_row, kernel_size, vectors)
        for i in range(count):
            scale = scales[codes_at[i] // index(positions)]
            solution[i] *= scale
            weights[i] *= scale
        _add_outer(solution, weights, places, patches, residual, image, pixel_row, kernel_size, vectors, out_atoms)
