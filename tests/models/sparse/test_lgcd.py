"""The compiled path agrees with the plain one, number by number."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from splitfed.models.sparse import SparseCodingLayer, layer
from splitfed.models.sparse.dictionary import random_dictionary
from splitfed.models.sparse.gradient import GradientStopping, pull_back
from splitfed.models.sparse.lgcd import SparseAtoms, lgcd
from splitfed.models.sparse.lgcd import pull_back as pull_back_sparse
from splitfed.models.sparse.problem import Atoms, Geometry, certify
from splitfed.models.sparse.solution import Stopping
from tests.models.sparse.conftest import smooth_images

shapes = st.tuples(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(1, 3), st.integers(4, 12), st.integers(4, 12)
)


def _problem(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """A canvas, a dictionary and sparse codes, float64."""
    channels, features, kernel_size, stride, height, width = shape
    generator = torch.Generator().manual_seed(sum(shape))
    dictionary = random_dictionary(features, channels, kernel_size, generator).double()
    canvas = Geometry(kernel_size, stride).canvas(smooth_images(5, channels, height, width) * 4 - 2)
    codes = torch.rand(Atoms(dictionary, stride).analyze(canvas).shape, dtype=torch.float64, generator=generator)
    return canvas, dictionary, (codes - 0.8).relu()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shapes)
def test_sparse_maps_equal_convolutions(shape: tuple[int, ...]) -> None:
    canvas, dictionary, codes = _problem(shape)
    dense, sparse = Atoms(dictionary, shape[3]), SparseAtoms(dictionary, shape[3])
    torch.testing.assert_close(sparse.synthesize(codes), dense.synthesize(codes))
    torch.testing.assert_close(sparse.correlate(codes, canvas), dense.correlate(codes, canvas))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shapes)
def test_sparse_backward_equals_dense(shape: tuple[int, ...]) -> None:
    canvas, dictionary, codes = _problem(shape)
    gradient = torch.randn(codes.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = GradientStopping(tolerance=1e-12, max_iterations=5_000, damping=0.05)
    image, atoms, _ = pull_back(Atoms(dictionary, shape[3]), canvas, codes, gradient, exact)
    sparse_image, sparse_atoms, report = pull_back_sparse(
        SparseAtoms(dictionary, shape[3]), canvas, codes, gradient, exact
    )
    assert report.relative_residual <= 1e-12
    torch.testing.assert_close(sparse_image, image, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(sparse_atoms, atoms, atol=1e-7, rtol=1e-7)
    fixed, nothing, _ = pull_back_sparse(
        SparseAtoms(dictionary, shape[3]), canvas, codes, gradient, exact, learns=False
    )
    assert nothing is None
    assert torch.equal(fixed, sparse_image)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shapes, st.floats(0.02, 1), st.sampled_from([1e-1, 1e-3, 1e-6]))
def test_reported_gap_is_the_certificate(shape: tuple[int, ...], l1_weight: float, tolerance: float) -> None:
    canvas, dictionary, _ = _problem(shape)
    atoms = Atoms(dictionary, shape[3])
    solution = lgcd(canvas, atoms, l1_weight, Stopping(tolerance, 20_000, 1))
    residual = canvas - atoms.synthesize(solution.codes)
    true = certify(canvas, solution.codes, residual, atoms.analyze(residual), l1_weight).relative_gap
    assert solution.codes.min() >= 0
    assert (true <= solution.relative_gap + 1e-10).all()
    assert (solution.relative_gap <= tolerance).all()


def test_atoms_of_any_norm_are_allowed() -> None:
    canvas, dictionary, _ = _problem((2, 5, 3, 1, 8, 8))
    dictionary = dictionary * torch.tensor([0.0, 0.3, 1.0, 2.0, 5.0]).view(-1, 1, 1, 1)
    solution = lgcd(canvas, Atoms(dictionary, 1), 0.2, Stopping(1e-8, 20_000, 1))
    assert (solution.relative_gap <= 1e-8).all()
    assert torch.count_nonzero(solution.codes[:, 0]) == 0


def test_threads_change_nothing() -> None:
    x = smooth_images(11, 1, 12, 12).float()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        coder = SparseCodingLayer(1, 8, solver="lgcd", generator=torch.Generator().manual_seed(0))
        codes = coder(x)
        codes.square().sum().backward()
        assert coder.dictionary.grad is not None
        results.append((codes.detach(), coder.dictionary.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solver", ["lgcd", "fista"])
def test_a_warm_start_is_as_exact_and_sooner_there(solver: str) -> None:
    x = smooth_images(4, 1, 12, 12)
    coder = SparseCodingLayer(1, 8, solver=solver, tolerance=1e-3, generator=torch.Generator().manual_seed(0)).double()
    codes = coder(x).detach()
    kept = codes.clone()
    assert torch.equal(coder(x, start=codes), codes)
    assert coder.report.iterations == 0
    coder.update_dictionary(x, codes, rate=0.01)
    coder(x)
    cold = coder.report
    coder(x, start=codes)
    assert coder.report.converged
    assert coder.report.iterations < cold.iterations
    assert torch.equal(codes, kept)


def test_auto_is_fista_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    coder = SparseCodingLayer(1, 4, generator=torch.Generator().manual_seed(0))
    x = smooth_images(1, 1, 8, 8).float()
    coder(x)
    assert coder.report.solver == "lgcd"
    monkeypatch.setattr(layer, "available", lambda: False)
    coder(x)
    assert coder.report.solver == "fista"
    with pytest.raises(ValueError, match="needs numba: pip install numba"):
        SparseCodingLayer(1, 4, solver="lgcd")


def test_damping_bounds_the_gradient_of_look_alikes() -> None:
    norms = []
    for damping in (1e-3, 1e-1):
        coder = SparseCodingLayer(
            1, 6, solver="lgcd", l1_weight=0.02, tolerance=1e-4, gradient_tolerance=1e-6, damping=damping,
            max_gradient_iterations=5_000, standardize=False, generator=torch.Generator().manual_seed(0),
        ).double()  # fmt: skip
        x = (smooth_images(2, 1, 10, 10) * 4).requires_grad_()
        codes = coder(x)
        gradient = torch.randn(codes.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        codes.backward(gradient)
        assert x.grad is not None
        norms.append(x.grad.norm())
        # |σ/(σ² + ε)| ≤ 1/(2√ε), for every singular value σ of Ω_S
        assert x.grad.norm() <= gradient.norm() / (2 * damping**0.5) * 1.01
    assert norms[1] < norms[0]
