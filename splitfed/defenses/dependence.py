"""How much two batches of vectors depend on each other: differentiable estimates, for terms of a loss.

All take samples as rows, in the same order on both sides, and compare only distances or kernels between them, so the
two sides may have any widths. They work in double precision on (B, B) matrices, which costs little and spares the
kernels, all close to 1, most of their cancellation.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = 5.0
"""Width of the Gaussian kernel in units of √dimension (BiDO's official code)."""

RIDGE = 1e-5
"""What is added to a centered kernel's eigenvalues before it is inverted, per sample (BiDO's official code)."""


def distance_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Distance correlation of two samples, in [0, 1]: the unsquared one, with Euclidean distances.

    1 where one is a scaled, shifted and rotated copy of the other; 0, with zero gradient, where either is constant.
    A sample of independent vectors is above 0, the more so the fewer samples and the more dimensions there are.

    Args:
        one: (B, p).
        other: (B, q).

    Source: Székely, Rizzo and Bakirov 2007, "Measuring and testing dependence by correlation of distances": the
    positive root of R²_n = V²_n(X, Y) / √(V²_n(X) V²_n(Y)).
    """
    a, b = centered(_distances(one)), centered(_distances(other))
    scale = _root(a.square().mean() * b.square().mean())
    constant = scale <= 0
    squared = (a * b).mean() / torch.where(constant, 1.0, scale)
    return _root(torch.where(constant, 0.0, squared))


def normalized_hsic(one: Tensor, other: Tensor) -> Tensor:
    """Normalized Hilbert-Schmidt independence criterion tr(R_1 R_2), in [0, B − 1], of two kernel matrices.

    R = K̄ (K̄ + εB I)⁻¹ with K̄ the double-centered kernel: unlike plain HSIC, tr(K̄_1 K̄_2) / (B − 1)², it hardly
    depends on the kernels' scale, and at ε → 0 not at all.

    Args:
        one: (B, B), positive semidefinite, as `gaussian_kernel` gives.
        other: (B, B).

    Source: Fukumizu et al. 2008, "Kernel measures of conditional dependence"; ε as BiDO's official code.
    """
    return (_regression(one) * _regression(other)).sum()


def constrained_covariance(one: Tensor, other: Tensor) -> Tensor:
    """COCO √‖K̄_1 K̄_2‖ / B of two kernel matrices, at least 0, with the Frobenius norm.

    Gretton et al. 2005, "Kernel constrained covariance for dependence measurement", take the spectral norm. The
    Frobenius norm is BiDO's official code: never below it, equal where one kernel has a single direction, and smooth.

    Args:
        one: (B, B), positive semidefinite.
        other: (B, B).
    """
    tiny = 1e-30  # the fourth root has no slope at 0, where a dead layer's kernel is
    norm_squared = (centered(one) @ centered(other)).square().sum()
    return (norm_squared + tiny).pow(0.25) / len(one)


def gaussian_kernel(rows: Tensor) -> Tensor:
    """exp(−‖x − y‖² / (2 σ²)) between rows (B, d), with σ = 5 √d: (B, B), double."""
    squared = _distances(rows).square()
    return torch.exp(-squared / (2 * SIGMA**2 * rows.shape[1]))


def label_kernel(labels: Tensor) -> Tensor:
    """The linear kernel of one-hot labels (B,): (B, B), double, 1 where two labels are equal."""
    return (labels[:, None] == labels[None, :]).double()


def centered(matrix: Tensor) -> Tensor:
    """H M H with H = I − 11ᵀ/B: rows and columns of a symmetric matrix sum to 0."""
    rows = matrix.mean(dim=1, keepdim=True)
    return matrix - rows - rows.T + matrix.mean()


def _regression(kernel: Tensor) -> Tensor:
    """K̄ (K̄ + εB I)⁻¹, whose factors commute: eigenvalues in [0, 1)."""
    middle = centered(kernel)
    ridge = RIDGE * len(kernel) * torch.eye(len(kernel), dtype=kernel.dtype)
    solved: Tensor = torch.linalg.solve(middle + ridge, middle)
    return solved


def _distances(rows: Tensor) -> Tensor:
    """Euclidean distances (B, B), double, taken from differences: exactly 0, with zero gradient, between equal rows."""
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist").double()


def _root(x: Tensor) -> Tensor:
    """√x with slope 0, not infinite, where x is 0 or rounded below it."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)
