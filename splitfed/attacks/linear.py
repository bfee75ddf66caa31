"""Ridge regression in closed form: all penalties from one factorization."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DEAD_SCALE = 1e-6
"""A feature that varies less than this is dead on the fit part, and what it does elsewhere is not trusted."""


@dataclass(frozen=True)
class Standardizer:
    """Per-feature standardization: (features - mean) * inverse_scale, all dead features to 0.

    Attributes:
        mean: float32, (d,).
        inverse_scale: float32, (d,); 0 for dead features.
    """

    mean: Tensor
    inverse_scale: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.inverse_scale


@dataclass(frozen=True)
class LinearMap:
    """An affine map from features to targets, by way of standardized features.

    Attributes:
        standardize: fitted on the same features.
        weight: float32, (d, p).
        intercept: float32, (p,); the mean target.
        penalty: the ridge penalty it was solved with, where features have variance 1; infinite for `mean_map`.
    """

    standardize: Standardizer
    weight: Tensor
    intercept: Tensor
    penalty: float

    def __call__(self, features: Tensor) -> Tensor:
        return torch.addmm(self.intercept, self.standardize(features), self.weight)


def fit_ridge(
    draws: Sequence[Tensor],
    targets: Tensor,
    *,
    validation: tuple[Tensor, Tensor],
    penalties: Iterable[float],
) -> LinearMap:
    """The ridge regression whose penalty does best on the validation part; solved in float64.

    Args:
        draws: features (n, d) of the same n images, one per draw of the defense's randomness; the fit is on
            all of them together, so the noise acts as the regularizer that its expectation asks for.
        targets: (n, p).
        validation: features (m, d) and targets (m, p) that choose the penalty by squared error.
        penalties: to choose from, positive.
    """
    standardize = standardizer(draws)
    intercept = targets.double().mean(dim=0)
    basis, eigenvalues, coefficients = _factorize(
        [standardize(draw).double() for draw in draws], targets.double() - intercept
    )
    seen = standardize(validation[0]).double() @ basis
    wanted = validation[1].double() - intercept

    def error(penalty: float) -> float:
        return float((seen / (eigenvalues + penalty) @ coefficients - wanted).square().mean())

    penalty = min(penalties, key=error)
    weight = (basis / (eigenvalues + penalty)) @ coefficients
    return LinearMap(standardize, weight.float(), intercept.float(), penalty)


def refit(fitted: LinearMap, draws: Sequence[Tensor], targets: Tensor) -> LinearMap:
    """The same regression with the same penalty on other images, as `fit_ridge` has them."""
    standardize = standardizer(draws)
    intercept = targets.double().mean(dim=0)
    basis, eigenvalues, coefficients = _factorize(
        [standardize(draw).double() for draw in draws], targets.double() - intercept
    )
    weight = (basis / (eigenvalues + fitted.penalty)) @ coefficients
    return LinearMap(standardize, weight.float(), intercept.float(), fitted.penalty)


def mean_map(features: Tensor, targets: Tensor) -> LinearMap:
    """The map before any learning: the mean target whatever the features are."""
    weight = targets.new_zeros(features.shape[1], targets.shape[1])
    return LinearMap(standardizer([features]), weight, targets.mean(dim=0), penalty=float("inf"))


def standardizer(draws: Sequence[Tensor]) -> Standardizer:
    """The standardization of several draws of the same features, (n, d) each, together."""
    mean = torch.stack([draw.double().mean(dim=0) for draw in draws]).mean(dim=0)
    variance = torch.stack([(draw.double() - mean).square().mean(dim=0) for draw in draws]).mean(dim=0)
    scale = variance.sqrt()
    inverse_scale = torch.where(scale > DEAD_SCALE, 1.0 / scale, torch.zeros_like(scale))
    return Standardizer(mean.float(), inverse_scale.float())


def _factorize(draws: list[Tensor], targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Basis (d, r), eigenvalues (r,) and coefficients (r, p): the solution for a penalty λ is
    basis · diag(1 / (eigenvalues + λ)) · coefficients.

    The eigendecomposition is of the features' covariance, or of the samples' if there are fewer of them.
    """
    rows = sum(len(draw) for draw in draws)
    if draws[0].shape[1] <= rows:
        covariance = sum((draw.T @ draw for draw in draws[1:]), start=draws[0].T @ draws[0]) / rows
        cross = sum((draw.T @ targets for draw in draws[1:]), start=draws[0].T @ targets) / rows
        eigenvalues, basis = torch.linalg.eigh(covariance)
        return basis, eigenvalues.clamp_min(0), basis.T @ cross
    stacked = torch.cat(draws)
    eigenvalues, left = torch.linalg.eigh(stacked @ stacked.T / rows)
    return stacked.T @ left, eigenvalues.clamp_min(0), left.T @ targets.repeat(len(draws), 1) / rows
