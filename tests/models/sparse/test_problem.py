"""The maps between codes and images, the certificate, and the Lipschitz bound."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitfed.models.sparse.dictionary import random_dictionary
from splitfed.models.sparse.problem import Atoms, Geometry, certify
from splitfed.models.sparse.spectrum import gram_kernel, lipschitz_bound

shapes = st.tuples(
    st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 4), st.integers(4, 13), st.integers(4, 13)
)


def _dictionary(features: int, channels: int, kernel_size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(features * 100 + channels * 10 + kernel_size)
    return random_dictionary(features, channels, kernel_size, generator).double()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(shapes)
def test_synthesis_is_the_adjoint_of_analysis(shape: tuple[int, ...]) -> None:
    channels, features, kernel_size, stride, height, width = shape
    geometry = Geometry(kernel_size, stride)
    atoms = Atoms(_dictionary(features, channels, kernel_size), stride)
    canvas = geometry.canvas(torch.randn(2, channels, height, width, dtype=torch.float64))
    correlation = atoms.analyze(canvas)
    assert correlation.shape == (2, features, -(-height // stride), -(-width // stride))
    codes = torch.randn_like(correlation)
    image = atoms.synthesize(codes)
    assert image.shape == canvas.shape
    torch.testing.assert_close((image * canvas).sum(), (codes * correlation).sum())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(shapes)
def test_synthesis_by_phases_equals_transposed_convolution(shape: tuple[int, ...]) -> None:
    channels, features, kernel_size, stride, height, width = shape
    dictionary = _dictionary(features, channels, kernel_size)
    codes = torch.randn(2, features, height, width, dtype=torch.float64)
    expected = torch.nn.functional.conv_transpose2d(codes, dictionary, stride=stride)
    torch.testing.assert_close(Atoms(dictionary, stride).synthesize(codes), expected)


def test_correlate_is_the_gradient_with_respect_to_the_dictionary() -> None:
    dictionary = _dictionary(4, 2, 3).requires_grad_()
    codes, canvas = torch.rand(2, 4, 5, 5, dtype=torch.float64), torch.randn(2, 2, 11, 11, dtype=torch.float64)
    (Atoms(dictionary, 2).synthesize(codes) * canvas).sum().backward()  # type: ignore[no-untyped-call]
    assert dictionary.grad is not None
    torch.testing.assert_close(Atoms(dictionary.detach(), 2).correlate(codes, canvas), dictionary.grad)


def test_canvas_centers_the_image_and_crop_takes_it_back() -> None:
    geometry = Geometry(5, 1)
    x = torch.rand(1, 1, 6, 7)
    canvas = geometry.canvas(x)
    assert canvas.shape == (1, 1, 10, 11)
    assert torch.equal(canvas[..., 2:-2, 2:-2], x)
    torch.testing.assert_close(canvas.sum(), x.sum())
    assert torch.equal(geometry.crop(canvas, 6, 7), x)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_gram_kernel_is_analysis_of_synthesis(stride: int) -> None:
    atoms = Atoms(_dictionary(3, 2, 4), stride)
    codes = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    lateral = gram_kernel(atoms.dictionary, stride)
    reach = lateral.shape[-1] // 2
    by_kernel = torch.nn.functional.conv2d(codes, lateral, padding=reach)
    torch.testing.assert_close(by_kernel, atoms.analyze(atoms.synthesize(codes)))
    torch.testing.assert_close(lateral[:, :, reach, reach].diagonal(), torch.ones(3, dtype=torch.float64))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(shapes)
def test_lipschitz_bound_is_safe_and_tight(shape: tuple[int, ...]) -> None:
    channels, features, kernel_size, stride, *_ = shape
    dictionary = _dictionary(features, channels, kernel_size)
    atoms = Atoms(dictionary, stride)
    codes = torch.randn(1, features, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = torch.tensor(0.0)
    for _ in range(60):
        codes = codes / codes.norm()
        codes = atoms.analyze(atoms.synthesize(codes))
        norm = codes.norm()
    bound = lipschitz_bound(dictionary, stride)
    assert norm <= bound <= 1.25 * norm


def test_gap_bounds_the_distance_to_the_minimum() -> None:
    # One atom of one pixel: the minimum is known, R = relu(x − λ).
    atoms = Atoms(torch.ones(1, 1, 1, 1, dtype=torch.float64), 1)
    x = torch.tensor([[[[2.0, 0.3, -1.0]]]], dtype=torch.float64)
    minimum = certify(x, (x - 0.5).relu(), x - (x - 0.5).relu(), x - (x - 0.5).relu(), 0.5)
    assert minimum.relative_gap.item() == pytest.approx(0, abs=1e-12)
    for guess in (torch.zeros_like(x), x.abs(), torch.full_like(x, 0.4)):
        residual = x - atoms.synthesize(guess)
        found = certify(x, guess, residual, atoms.analyze(residual), 0.5)
        excess = (found.objective - minimum.objective) / (x.square().sum() / 2)
        assert 0 < excess <= found.relative_gap + 1e-12
