"""The layer: right codes from every solver, at every edge of its range."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from splitfed.models.sparse import SparseCodingLayer, learn_dictionary
from splitfed.models.sparse.problem import Atoms
from tests.models.sparse.conftest import smooth_images

ALL = ("lgcd", "fista", "lca")


def _layer(
    channels: int = 1, features: int = 6, *, seed: int = 1, double: bool = True, **options: object
) -> SparseCodingLayer:
    generator = torch.Generator().manual_seed(seed)
    layer = SparseCodingLayer(channels, features, generator=generator, **options)  # type: ignore[arg-type]
    return layer.double() if double else layer


def _objective(layer: SparseCodingLayer, x: Tensor, codes: Tensor) -> Tensor:
    canvas = layer.prepare(x)
    residual = canvas - Atoms(layer.dictionary.detach(), layer.geometry.stride).synthesize(codes)
    return residual.square().sum((1, 2, 3)) / 2 + layer.l1_weight * codes.sum((1, 2, 3))


def _correlation(layer: SparseCodingLayer, x: Tensor, codes: Tensor) -> Tensor:
    atoms = Atoms(layer.dictionary.detach(), layer.geometry.stride)
    return atoms.analyze(layer.prepare(x) - atoms.synthesize(codes))


@pytest.mark.parametrize("solver", ["lgcd", "fista"])
def test_the_objective_is_that_of_the_solution_and_lower_for_better_atoms(solver: str) -> None:
    x = torch.cat([smooth_images(4, 1, 12, 12), torch.zeros(1, 1, 12, 12).double()])
    layer = _layer(solver=solver, l1_weight=0.3, tolerance=1e-3)
    objective = layer.objective(x)
    torch.testing.assert_close(objective, _objective(layer, x, layer(x)).detach())
    assert objective[-1] == 0
    other = _layer(seed=2).dictionary.detach()
    before = layer.dictionary.detach().clone()
    assert 0.8 < layer.objective(x, dictionary=other).mean() / objective.mean() < 1.25
    assert torch.equal(layer.dictionary, before)
    learn_dictionary(layer, x[:4], steps=20, batch_size=4, generator=torch.Generator().manual_seed(0))
    assert layer.objective(x).mean() < 0.8 * objective.mean()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_solver_reaches_the_same_minimum(channels: int, stride: int) -> None:
    x = smooth_images(2, channels, 8, 7)
    codes = {}
    for solver in ALL:
        layer = _layer(channels, 6, stride=stride, solver=solver, l1_weight=0.3, tolerance=1e-7, max_iterations=100_000)
        codes[solver] = layer(x).detach()
        assert layer.report.converged
    for solver in ("lgcd", "lca"):
        torch.testing.assert_close(codes[solver], codes["fista"], atol=1e-3, rtol=0)
        torch.testing.assert_close(_objective(layer, x, codes[solver]), _objective(layer, x, codes["fista"]))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    channels=st.integers(1, 3),
    features=st.integers(1, 8),
    kernel_size=st.integers(1, 6),
    stride=st.integers(1, 3),
    height=st.integers(6, 12),
    width=st.integers(6, 12),
    l1_weight=st.floats(0.05, 3),
    solver=st.sampled_from(["lgcd", "fista"]),
)
def test_codes_meet_the_optimality_conditions(
    channels: int, features: int, kernel_size: int, stride: int, height: int, width: int, l1_weight: float, solver: str
) -> None:
    x = smooth_images(2, channels, height, width)
    layer = _layer(
        channels,
        features,
        kernel_size=kernel_size,
        stride=stride,
        l1_weight=l1_weight,
        solver=solver,
        tolerance=1e-8,
        max_iterations=20_000,
    )
    codes = layer(x).detach()
    assert layer.report.converged
    assert codes.shape == (2, features, -(-height // stride), -(-width // stride))
    assert codes.min() >= 0
    # A gap of ε·‖X‖²/2 leaves the residual within √(ε)·‖X‖ of the best one, so correlations within that as well.
    slack = (1e-8 * layer.prepare(x).square().sum((1, 2, 3)).max()).sqrt()
    correlation = _correlation(layer, x, codes)
    assert (correlation - l1_weight).max() <= slack
    active = codes > 1e-3
    assert (correlation - l1_weight)[active].abs().max() <= slack if active.any() else True


def test_gap_in_the_report_is_true_and_stops_the_solver() -> None:
    x = smooth_images(4, 1, 12, 12)
    exact = _layer(tolerance=1e-10, max_iterations=50_000)
    minimum = _objective(exact, x, exact(x).detach())
    energy = exact.prepare(x).square().sum((1, 2, 3)) / 2
    for tolerance in (1e-1, 1e-2, 1e-4):
        layer = _layer(tolerance=tolerance)
        excess = (_objective(layer, x, layer(x).detach()) - minimum) / energy
        assert layer.report.converged
        assert excess.max() <= layer.report.relative_gap <= tolerance


def test_report_admits_that_iterations_ran_out() -> None:
    layer = _layer(tolerance=1e-9, max_iterations=3)
    layer(smooth_images(2, 1, 12, 12))
    assert not layer.report.converged
    assert layer.report.relative_gap > 1e-9
    assert layer.report.iterations == 3


@pytest.mark.parametrize("solver", ALL)
def test_zero_and_constant_images_have_empty_codes(solver: str) -> None:
    layer = _layer(solver=solver, double=False)
    for value in (0.0, 0.7, 1.0):
        codes = layer(torch.full((2, 1, 9, 9), value))
        assert torch.count_nonzero(codes) == 0
        assert layer.report.converged
        codes.sum().backward()
        assert layer.dictionary.grad is not None
        assert torch.count_nonzero(layer.dictionary.grad) == 0


@pytest.mark.parametrize("solver", ALL)
def test_huge_l1_weight_silences_every_atom(solver: str) -> None:
    layer = _layer(solver=solver, l1_weight=1e6)
    x = smooth_images(2, 1, 9, 9).requires_grad_()
    codes = layer(x)
    assert torch.count_nonzero(codes) == 0
    assert layer.report.relative_gap == 0
    codes.sum().backward()
    assert x.grad is not None
    assert torch.count_nonzero(x.grad) == 0


def test_no_l1_weight_rebuilds_what_nonnegative_codes_can() -> None:
    layer = _layer(1, 12, l1_weight=0, tolerance=1e-4, max_iterations=5_000)
    x = smooth_images(2, 1, 10, 10)
    codes = layer(x).detach()
    assert layer.report.converged
    assert (_objective(layer, x, codes) / (layer.prepare(x).square().sum((1, 2, 3)) / 2)).max() <= 1e-4


@pytest.mark.parametrize("solver", ALL)
def test_an_image_of_one_atom_has_a_single_active_code(solver: str) -> None:
    layer = _layer(1, 4, kernel_size=3, l1_weight=0.5, standardize=False, solver=solver, tolerance=1e-12, damping=0)
    truth = torch.zeros(1, 4, 7, 7, dtype=torch.float64)
    truth[0, 2, 3, 3] = 4.0
    atoms = Atoms(layer.dictionary.detach(), 1)
    x = layer.geometry.crop(atoms.synthesize(truth), 7, 7).requires_grad_()
    codes = layer(x)
    expected = torch.zeros_like(truth)
    expected[0, 2, 3, 3] = 3.5
    torch.testing.assert_close(codes.detach(), expected, atol=1e-4, rtol=0)
    codes.sum().backward()
    assert x.grad is not None  # R = ⟨atom, x⟩ − λ, so dR/dx is the atom
    torch.testing.assert_close(x.grad[0, 0, 2:5, 2:5], layer.dictionary.detach()[2, 0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("solver", ALL)
def test_a_sample_does_not_depend_on_its_batch(solver: str) -> None:
    layer = _layer(solver=solver, tolerance=1e-2)
    x = smooth_images(5, 1, 12, 12)
    x[3] *= 0.01
    together = layer(x).detach()
    alone = torch.cat([layer(x[i : i + 1]).detach() for i in range(5)])
    torch.testing.assert_close(together, alone, atol=1e-9, rtol=0)


@pytest.mark.parametrize("solver", ALL)
def test_repeats_are_bit_identical(solver: str) -> None:
    layer, x = _layer(3, 8, solver=solver, double=False), smooth_images(4, 3, 14, 14).float()
    first, again = layer(x), layer(x)
    assert torch.equal(first, again)
    assert torch.equal(first, copy.deepcopy(layer)(x.clone()))


def test_layers_in_several_threads_do_not_disturb_each_other() -> None:
    layers = [_layer(seed=seed, l1_weight=0.1 + 0.2 * seed) for seed in range(4)]
    x = smooth_images(4, 1, 12, 12)
    expected = [(layer(x).detach(), layer.report) for layer in copy.deepcopy(layers)]
    found: dict[int, tuple[Tensor, object]] = {}

    def work(i: int) -> None:
        torch.set_num_threads(1)
        found[i] = (layers[i](x).detach(), layers[i].report)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, (codes, report) in enumerate(expected):
        assert torch.equal(found[i][0], codes)
        assert found[i][1] == report


def test_state_survives_copy_and_checkpoint() -> None:
    layer, other = _layer(seed=1), _layer(seed=2)
    x = smooth_images(2, 1, 10, 10)
    expected = layer(x)
    other(x)
    assert list(layer.state_dict()) == ["dictionary"]
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), expected)
    twin = copy.deepcopy(layer)
    twin.update_dictionary(x, expected.detach())
    assert torch.equal(layer(x), expected)
    assert not torch.equal(twin(x), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_are_solved_in_float32(dtype: torch.dtype) -> None:
    layer = _layer(double=False, tolerance=1e-3)
    x = smooth_images(2, 1, 10, 10).to(dtype).requires_grad_()
    codes = layer(x)
    assert codes.dtype == dtype
    assert torch.equal(codes, layer(x.detach().float()).to(dtype))
    codes.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


def test_an_empty_batch_has_empty_codes() -> None:
    layer = _layer()
    assert layer(torch.zeros(0, 1, 8, 8, dtype=torch.float64)).shape == (0, 6, 8, 8)


def test_standardization_makes_codes_blind_to_brightness_and_contrast() -> None:
    layer = _layer(tolerance=1e-8)
    x = smooth_images(2, 1, 10, 10)
    torch.testing.assert_close(layer(0.3 * x + 0.2), layer(x), atol=1e-4, rtol=0)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="solver is 'ista'; want one of auto, lgcd, fista, lca"):
        SparseCodingLayer(1, 2, solver="ista")
    with pytest.raises(ValueError, match="l1_weight is -1"):
        SparseCodingLayer(1, 2, l1_weight=-1)
