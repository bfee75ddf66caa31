"""The vector operations do what NumPy does, at any offset and in both precisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitfed.models.sparse.compiled import LANES, compiled, index
from splitfed.models.sparse.vectors import POSITIONS, furthest, inner, movers, project, raise_to, subtract

PRECISIONS = (np.float32, np.float64)
OFFSETS = ((0, 0), (3, 21))


@compiled
def _subtract(target: Any, t: int, source: Any, s: int, factor: float) -> None:
    subtract(target, index(t), source, index(s), factor)


@compiled
def _raise_to(target: Any, t: int, source: Any, s: int) -> None:
    raise_to(target, index(t), source, index(s))


@compiled
def _inner(a: Any, p: int, apart: int, b: Any, q: int, rows: int, vectors: int) -> Any:
    return inner(a, index(p), index(apart), b, index(q), index(rows), index(vectors))


@compiled
def _project(
    out: Any, o: int, image: Any, p: int, row: int, step: int, atoms: Any, a: int, features: int, rows: int, length: int
) -> None:
    project(
        out, index(o), image, index(p), index(row), index(step), atoms, index(a), index(features), index(rows),
        index(length),
    )  # fmt: skip


@compiled
def _movers(correlations: Any, c: int, codes: Any, r: int, l1_weight: float, threshold: float) -> Any:
    return movers(correlations, index(c), codes, index(r), l1_weight, threshold)


@compiled
def _furthest(correlations: Any, c: int, codes: Any, r: int, l1_weight: float) -> Any:
    return furthest(correlations, index(c), codes, index(r), l1_weight)


def _numbers(precision: Any) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=6 * LANES).astype(precision), random.normal(size=6 * LANES).astype(precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("t", "s"), OFFSETS)
def test_subtract_and_raise_change_one_vector_only(precision: Any, t: int, s: int) -> None:
    target, source = _numbers(precision)
    here, there = target[t : t + LANES].copy(), source[s : s + LANES]
    lowered, raised = target.copy(), target.copy()
    _subtract(lowered, t, source, s, precision(0.5))
    _raise_to(raised, t, source, s)
    for found, expected in ((lowered, here - precision(0.5) * there), (raised, np.maximum(here, there))):
        target[t : t + LANES] = expected
        np.testing.assert_allclose(found, target, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("rows", "vectors"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_inner_is_the_inner_product_of_patches(precision: Any, rows: int, vectors: int) -> None:
    a, b = _numbers(precision)
    apart, length = 35, vectors * LANES
    expected = sum(np.dot(a[2 + i * apart :][:length], b[5 + i * length :][:length]) for i in range(rows))
    np.testing.assert_allclose(_inner(a, 2, apart, b, 5, rows, vectors), expected, rtol=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("rows", "length", "step"), [(1, 1, 1), (3, 4, 2), (2, 3, 5)])
def test_project_is_the_inner_product_of_atoms_and_patches(precision: Any, rows: int, length: int, step: int) -> None:
    random = np.random.default_rng(0)
    image, row, features, begin = random.normal(size=80).astype(precision), 21, 2 * LANES, 3
    atoms = random.normal(size=(rows, length, features)).astype(precision)
    out = np.zeros((POSITIONS, features), precision)
    _project(out.ravel(), LANES, image, begin, row, step, atoms.ravel(), LANES, features, rows, length)
    for position in range(POSITIONS):
        patch = [image[begin + position * step + y * row :][:length] for y in range(rows)]
        expected = np.einsum("yx,yxf->f", np.array(patch), atoms)[LANES:]
        np.testing.assert_allclose(out[position, LANES:], expected, rtol=1e-4, atol=1e-5)
        assert not out[position, :LANES].any()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("c", "r"), OFFSETS)
def test_the_search_finds_who_moves_and_who_moves_furthest(precision: Any, c: int, r: int) -> None:
    correlations, codes = _numbers(precision)
    codes = np.maximum(codes, 0)
    l1_weight, threshold = precision(0.3), precision(0.4)
    step = np.abs(np.maximum(correlations[c : c + LANES] - l1_weight, -codes[r : r + LANES]))
    expected = sum(1 << lane for lane in range(LANES) if step[lane] > threshold)
    assert 0 < expected < (1 << LANES) - 1
    assert _movers(correlations, c, codes, r, l1_weight, threshold) == expected
    assert _furthest(correlations, c, codes, r, l1_weight) == step.argmax()
