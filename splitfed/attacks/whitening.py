"""Whitening of activations: decorrelated features, in which a network learns several times faster.

Activations of natural images are strongly correlated; the few directions of large variance would take all of the
first epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.attacks.linear import standardizer

FLOOR = 1.0
"""Added to the variances of the standardized features: directions far below it stay small, being mostly noise."""
MOST_FEATURES = 2048
"""Beyond this the eigendecomposition costs more than it saves: features are only standardized."""


@dataclass(frozen=True)
class Whitening:
    """(features - mean) @ matrix.

    Attributes:
        mean: float32, (d,).
        matrix: float32, (d, d), or (d,) where features are only standardized.
    """

    mean: Tensor
    matrix: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        centered = features - self.mean
        return centered @ self.matrix if self.matrix.dim() == 2 else centered * self.matrix


def fit_whitening(features: Tensor) -> Whitening:
    """The symmetric (ZCA) whitening of these features, (n, d), with `FLOOR`.

    Symmetric, because it stays close to the features themselves: from one round's front to the next it changes as
    little as they do, so weights on top of it remain of use.
    """
    standardize = standardizer([features])
    if features.shape[1] > MOST_FEATURES:
        return Whitening(standardize.mean, standardize.inverse_scale)
    standardized = standardize(features).double()
    variances, directions = torch.linalg.eigh(standardized.T @ standardized / len(features))
    symmetric = (directions * ((1 + FLOOR) / (variances.clamp_min(0) + FLOOR)).sqrt()) @ directions.T
    return Whitening(standardize.mean, standardize.inverse_scale[:, None] * symmetric.float())
