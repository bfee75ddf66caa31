"""The Fréchet distance between two sets of features, each taken as Gaussian, in float64.

d² = |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), eq. 6 of Heusel et al. 2017 (arXiv 1706.08500).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Mean (D,) and unbiased covariance (D, D) of a set of features, float64."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features (N, D), N at least 2.

    Raises:
        ValueError: fewer than two rows, or not two axes.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"want features (N, D) with N at least 2, got {tuple(features.shape)}")
    rows = features.double()
    return Moments(rows.mean(dim=0), torch.cov(rows.T).reshape(rows.shape[1], rows.shape[1]))


def frechet_distance(first: Moments, second: Moments) -> float:
    """The squared distance d², at least 0; 0 for equal moments.

    The trace of the root is the sum of the singular values of Σ₁^½ Σ₂^½, whose squares are the eigenvalues of
    Σ₁ Σ₂: no root of a matrix that is not symmetric, and no complex numbers from rounding.
    """
    offset = (first.mean - second.mean).square().sum()
    product = _root(first.covariance) @ _root(second.covariance)
    overlap = torch.linalg.svdvals(product).sum()
    distance = offset + first.covariance.trace() + second.covariance.trace() - 2 * overlap
    return max(float(distance), 0.0)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric root; eigenvalues that rounding made negative count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root
