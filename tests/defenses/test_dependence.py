"""Measures of dependence: what they are by definition, what leaves them alone, and their gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from splitfed.defenses.dependence import (
    RIDGE,
    constrained_covariance,
    distance_correlation,
    gaussian_kernel,
    label_kernel,
    normalized_hsic,
)


def normal(seed: int, rows: int, width: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def double_centered(matrix: Tensor) -> Tensor:
    """By its definition, one entry after the other."""
    size = len(matrix)
    out = torch.zeros_like(matrix)
    for i in range(size):
        for j in range(size):
            out[i, j] = matrix[i, j] - matrix[i].mean() - matrix[:, j].mean() + matrix.mean()
    return out


# distance correlation


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 24), st.integers(1, 9), st.integers(1, 9))
def test_distance_correlation_lies_in_the_unit_interval_and_is_symmetric(
    seed: int, rows: int, width: int, other_width: int
) -> None:
    one, other = normal(seed, rows, width), normal(seed + 1, rows, other_width)
    value = distance_correlation(one, other)
    assert -1e-12 <= value <= 1 + 1e-12
    torch.testing.assert_close(distance_correlation(other, one), value)


def test_distance_correlation_agrees_with_the_definition() -> None:
    one, other = normal(0, 12, 3), normal(1, 12, 5) + normal(0, 12, 3).sum(dim=1, keepdim=True)
    distances = [torch.stack([(x - y).norm() for x in z for y in z]).reshape(12, 12) for z in (one, other)]
    a, b = (double_centered(matrix) for matrix in distances)
    covariance, first, second = ((x * y).sum() / 12**2 for x, y in ((a, b), (a, a), (b, b)))
    torch.testing.assert_close(distance_correlation(one, other), (covariance / (first * second).sqrt()).sqrt())


def test_a_rotated_scaled_and_shifted_copy_has_distance_correlation_one() -> None:
    one = normal(0, 30, 6)
    rotation, _ = torch.linalg.qr(normal(1, 6, 6))
    torch.testing.assert_close(
        distance_correlation(one, 0.3 * one @ rotation + 7), torch.tensor(1.0, dtype=torch.float64)
    )


def test_distance_correlation_ignores_scale_and_rotation_of_either_side() -> None:
    one, other = normal(0, 30, 6), normal(1, 30, 4) + normal(0, 30, 6)[:, :4]
    rotation, _ = torch.linalg.qr(normal(2, 6, 6))
    value = distance_correlation(one, other)
    assert 0.3 < value < 0.95
    torch.testing.assert_close(distance_correlation(5 * one @ rotation - 2, 1e-3 * other), value)


def test_distance_correlation_of_independent_samples_falls_as_they_grow() -> None:
    values = [
        sum(float(distance_correlation(normal(s, rows, 2), normal(s + 100, rows, 2))) for s in range(5)) / 5
        for rows in (20, 80, 320, 1280)
    ]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.1


def test_distance_correlation_sees_dependence_without_correlation() -> None:
    x = normal(0, 400, 1)
    assert abs(torch.corrcoef(torch.cat([x, x.square()], dim=1).T)[0, 1]) < 0.15
    assert distance_correlation(x, x.square()) > 0.4


def test_a_constant_side_has_distance_correlation_zero_and_no_gradient() -> None:
    constant = torch.full((8, 3), 0.5, requires_grad=True)
    value = distance_correlation(normal(0, 8, 3).float(), constant)
    value.backward()  # type: ignore[no-untyped-call]
    assert value == 0
    assert constant.grad is not None
    assert torch.equal(constant.grad, torch.zeros(8, 3))


def test_equal_rows_leave_the_gradient_of_distance_correlation_finite() -> None:
    rows = normal(0, 8, 3).float()
    rows[3] = rows[5]
    moved = rows.clone().requires_grad_()
    distance_correlation(rows, moved).backward()  # type: ignore[no-untyped-call]
    assert moved.grad is not None
    assert moved.grad.isfinite().all()


# kernels


def test_the_gaussian_kernel_is_five_roots_of_the_dimension_wide() -> None:
    rows = normal(0, 5, 9)
    wanted = torch.exp(-(rows[1] - rows[3]).square().sum() / (2 * (5 * 3) ** 2))
    torch.testing.assert_close(gaussian_kernel(rows)[1, 3], wanted)


def test_the_label_kernel_is_that_of_one_hot_labels() -> None:
    labels = torch.tensor([2, 0, 2, 1, 0])
    one_hot = torch.nn.functional.one_hot(labels).double()
    torch.testing.assert_close(label_kernel(labels), one_hot @ one_hot.T)


def kernels() -> tuple[Tensor, Tensor]:
    one = normal(0, 10, 4)
    return gaussian_kernel(3 * one), label_kernel((one[:, 0] > 0).long() + (one[:, 1] > 0).long())


# normalized HSIC and constrained covariance


def test_normalized_hsic_agrees_with_the_double_centered_formula() -> None:
    factors = []
    for kernel in kernels():
        middle = double_centered(kernel)
        factors.append(middle @ torch.linalg.inv(middle + RIDGE * 10 * torch.eye(10, dtype=torch.float64)))
    torch.testing.assert_close(normalized_hsic(*kernels()), torch.trace(factors[0] @ factors[1]))


def test_normalized_hsic_of_a_kernel_with_itself_is_nearly_its_rank() -> None:
    labels = torch.arange(12) % 4
    kernel = label_kernel(labels)  # centered, of four equally large classes: rank 3
    assert normalized_hsic(kernel, kernel) == pytest.approx(3, abs=1e-3)


def test_constrained_covariance_agrees_with_the_double_centered_formula() -> None:
    one, other = (double_centered(kernel) for kernel in kernels())
    torch.testing.assert_close(constrained_covariance(*kernels()), (one @ other).norm().sqrt() / 10)


def test_constrained_covariance_bounds_the_spectral_one_and_equals_it_for_two_classes() -> None:
    images, labels = kernels()
    two = label_kernel(torch.arange(10) % 2)
    for kernel, equal in ((labels, False), (two, True)):
        spectral = torch.linalg.matrix_norm(double_centered(images) @ double_centered(kernel), 2).sqrt() / 10
        value = constrained_covariance(images, kernel)
        assert value >= spectral * (1 - 1e-9)
        assert (abs(value / spectral - 1) < 1e-6) == equal


@pytest.mark.parametrize("measure", [normalized_hsic, constrained_covariance])
def test_dependence_on_labels_exceeds_dependence_on_shuffled_labels(measure: Callable[..., Tensor]) -> None:
    labels = torch.arange(60) % 3
    rows = normal(0, 60, 5) + 4 * torch.nn.functional.one_hot(labels, 5)
    shuffled = labels[torch.randperm(60, generator=torch.Generator().manual_seed(0))]
    right, wrong = (measure(gaussian_kernel(rows), label_kernel(of)) for of in (labels, shuffled))
    assert right > 2 * wrong


@pytest.mark.parametrize("measure", [normalized_hsic, constrained_covariance])
def test_measures_of_kernels_do_not_depend_on_the_order_of_samples(measure: Callable[..., Tensor]) -> None:
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    one, other = kernels()
    torch.testing.assert_close(measure(one[order][:, order], other[order][:, order]), measure(one, other))


@pytest.mark.parametrize("measure", [normalized_hsic, constrained_covariance])
def test_a_dead_layer_has_no_dependence_and_a_finite_gradient(measure: Callable[..., Tensor]) -> None:
    dead = torch.zeros(10, 4, dtype=torch.float64, requires_grad=True)
    value = measure(gaussian_kernel(dead), kernels()[0])
    value.backward()  # type: ignore[no-untyped-call]
    assert value.abs() < 1e-7
    assert dead.grad is not None
    assert dead.grad.isfinite().all()


@pytest.mark.parametrize(
    "measure",
    [
        distance_correlation,
        lambda one, other: normalized_hsic(gaussian_kernel(one), gaussian_kernel(other)),
        lambda one, other: constrained_covariance(gaussian_kernel(one), gaussian_kernel(other)),
    ],
    ids=["distance_correlation", "normalized_hsic", "constrained_covariance"],
)
def test_gradients_agree_with_finite_differences(measure: Callable[..., Tensor]) -> None:
    one, other = normal(0, 6, 3), (normal(1, 6, 2) + normal(0, 6, 3)[:, :2]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: measure(one, x), (other,), atol=1e-6, rtol=1e-4)
