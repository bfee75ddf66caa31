"""The implicit gradient against finite differences and against an unrolled solver."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from splitfed.models.sparse import SparseCodingLayer
from splitfed.models.sparse.problem import Atoms
from splitfed.models.sparse.spectrum import lipschitz_bound
from tests.models.sparse.conftest import smooth_images

BOTH = ("lgcd", "fista")


def _exact(solver: str, channels: int, features: int, *, stride: int = 1) -> SparseCodingLayer:
    return SparseCodingLayer(
        channels,
        features,
        kernel_size=3,
        stride=stride,
        l1_weight=0.4,
        solver=solver,
        tolerance=1e-15,
        max_iterations=4_000,
        gradient_tolerance=1e-12,
        max_gradient_iterations=2_000,
        damping=0,
        generator=torch.Generator().manual_seed(3),
    ).double()


@pytest.mark.parametrize("solver", BOTH)
@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (2, 2)])
def test_gradients_agree_with_finite_differences(solver: str, channels: int, stride: int) -> None:
    layer = _exact(solver, channels, 3, stride=stride)
    x = smooth_images(1, channels, 5, 4).requires_grad_()
    weights = torch.randn(layer(x).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(x: Tensor, dictionary: Tensor) -> Tensor:
        with torch.no_grad():
            layer.dictionary.copy_(dictionary)
        codes: Tensor = torch.func.functional_call(layer, {"dictionary": dictionary}, (x,))
        total: Tensor = (codes * weights).sum()
        return total

    dictionary = layer.dictionary.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (x, dictionary), eps=1e-6, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("solver", BOTH)
def test_gradients_agree_with_back_propagation_through_a_long_solve(solver: str) -> None:
    layer = _exact(solver, 2, 5)
    x = smooth_images(3, 2, 8, 8).requires_grad_()
    codes = layer(x)
    weights = torch.randn(codes.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    implicit = torch.autograd.grad((codes * weights).sum(), (x, layer.dictionary))

    atoms, canvas = Atoms(layer.dictionary, 1), layer.prepare(x)
    step = 1 / lipschitz_bound(layer.dictionary.detach(), 1)
    unrolled = torch.zeros_like(codes)
    for _ in range(3_000):
        gradient = atoms.analyze(canvas - atoms.synthesize(unrolled)) - layer.l1_weight
        unrolled = (unrolled + step * gradient).relu()
    torch.testing.assert_close(unrolled, codes, atol=1e-5, rtol=0)
    explicit = torch.autograd.grad((unrolled * weights).sum(), (x, layer.dictionary))
    for ours, theirs in zip(implicit, explicit, strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()


@pytest.mark.parametrize("solver", BOTH)
def test_report_tells_how_well_the_system_was_solved(solver: str) -> None:
    layer = _exact(solver, 1, 4)
    layer(smooth_images(2, 1, 8, 8)).square().sum().backward()
    assert layer.gradient_report is not None
    assert layer.gradient_report.relative_residual <= 1e-12
    assert layer.gradient_report.iterations > 0


@pytest.mark.parametrize("solver", BOTH)
def test_nothing_is_recorded_without_need(solver: str) -> None:
    layer = _exact(solver, 1, 4)
    x = smooth_images(1, 1, 8, 8)
    with torch.no_grad():
        assert layer(x).grad_fn is None
    layer.dictionary.requires_grad_(False)
    assert layer(x).grad_fn is None
    assert layer(x.requires_grad_()).grad_fn is not None


@pytest.mark.parametrize("solver", BOTH)
def test_twin_atoms_leave_finite_gradients(solver: str) -> None:
    layer = _exact(solver, 1, 4)
    with torch.no_grad():
        layer.dictionary[1].copy_(layer.dictionary[0])
    x = smooth_images(2, 1, 8, 8).requires_grad_()
    layer(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert layer.dictionary.grad is not None
    assert layer.dictionary.grad.isfinite().all()
