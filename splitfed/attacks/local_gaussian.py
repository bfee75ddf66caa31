"""A Gaussian around the attacker's nearest images, conditioned on what an activation says exactly.

A unit of a ReLU layer that is on shows what its ReLU got, u = z: an equation. One that is off shows u ≤ 0. The image
and these numbers are jointly Gaussian under the prior: mean and covariance of the k nearest images of the class, plus a
share of the whole class's covariance, plus, where u = W·x + b is affine, a little variance of every pixel. With A the
units that are on, the estimate of least squared error among all affine ones (Kay 1993, "Fundamentals of statistical
signal processing: estimation theory", section 12.5) is

    x̂ = m + C_xA · (C_AA + s·I)⁻¹ · (z_A − μ_A)

Units that are off and for which x̂ says u > 0 are then set to their bound, u = 0, and it is solved once more: one step
of an active-set method (Nocedal and Wright 2006, "Numerical optimization", section 16.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PIXEL_VARIANCE = 1e-4
"""Of each pixel, beside what the images show: 2.5 gray levels. It gives a prior of few images full rank."""
SLACKENED = 12
"""How often the slack may be made ten times as large where rounding leaves a system without a solution."""
OFF_VARIANCE = 1e6
"""Of the slack of what is no equation: large enough that it says nothing."""


@dataclass(frozen=True)
class Settings:
    """How the prior is made.

    Attributes:
        neighbors: k, the images that it is local to.
        shared: share of the class's covariance.
        slack: s, the variance of what an equation leaves open, as a share of the mean variance of u.
    """

    neighbors: int
    shared: float
    slack: float


@dataclass(frozen=True)
class ClassPrior:
    """The images of a class and what the front's last ReLU gets for them.

    Attributes:
        targets: what is estimated of each image, (M, q).
        outputs: u, (M, d).
        cross: covariance of targets with outputs over the class, (q, d).
        within: covariance of the outputs, (d, d).
        pixel_cross: the same as ``cross`` of the pixels' own variance, (q, d); zeros where u is not affine.
        pixel_within: the same as ``within``, (d, d).
    """

    targets: Tensor
    outputs: Tensor
    cross: Tensor
    within: Tensor
    pixel_cross: Tensor
    pixel_within: Tensor

    def of_class(self, activation: Tensor, on: Tensor, slack: float) -> Tensor:
        """Targets (n, q) under the prior of the whole class.

        Args:
            activation: z, (n, d).
            on: which of its numbers are equations, (n, d).
            slack: s, as a share of the mean variance of u.
        """
        equations = _Equations.of(on)
        misfit = equations.rows(activation - self.outputs.mean(dim=0))
        covariance = equations.square(self.within + self.pixel_within)
        weights = equations.solve(covariance, misfit, self._slack(slack))
        return self.targets.mean(dim=0) + equations.spread(weights, on.shape[1]) @ (self.cross + self.pixel_cross).T

    def near(self, nearest: Tensor, activation: Tensor, on: Tensor, settings: Settings) -> Tensor:
        """Targets (n, q) under a prior around the k nearest images of each, (n, k)."""
        equations, (number, k) = _Equations.of(on), nearest.shape
        outputs = equations.columns(self.outputs[nearest])
        mean = outputs.mean(dim=1)
        spread = (outputs - mean[:, None]) * k**-0.5
        shared = equations.square(settings.shared * self.within + self.pixel_within)
        covariance = torch.baddbmm(shared, spread.transpose(1, 2), spread)
        misfit = (activation.gather(1, equations.places) - mean) * equations.valid
        weights = equations.solve(covariance, misfit, self._slack(settings.slack))
        along = torch.bmm(spread, weights[..., None])[..., 0] * k**-0.5
        # the mean of the nearest plus so much of each one's difference from it, as one sum over the class's images
        of_each = (along - along.mean(dim=1, keepdim=True) + 1 / k).to(self.targets.dtype)
        members = of_each.new_zeros(number, len(self.targets)).scatter(1, nearest, of_each)
        wide = equations.spread(weights, on.shape[1]) @ (settings.shared * self.cross + self.pixel_cross).T
        estimate: Tensor = members @ self.targets + wide
        return estimate

    def _slack(self, share: float) -> float:
        return share * float(self.within.diagonal().mean().clamp_min(1e-12))


@dataclass(frozen=True)
class _Equations:
    """Which units are on, as so many places for each activation; some have fewer than others.

    Attributes:
        places: (n, a), those that are on first.
        valid: (n, a), whether there is an equation.
    """

    places: Tensor
    valid: Tensor

    @classmethod
    def of(cls, on: Tensor) -> _Equations:
        most = max(int(on.sum(dim=1).max()), 1)
        places = torch.argsort(on.float(), dim=1, descending=True, stable=True)[:, :most]
        return cls(places, on.gather(1, places))

    def square(self, matrix: Tensor) -> Tensor:
        """Rows and columns of a (d, d) matrix: (n, a, a)."""
        # whole rows, then columns: half again as fast as picking single numbers
        return self.columns(matrix[self.places])

    def columns(self, tensor: Tensor) -> Tensor:
        """Of (n, k, d): (n, k, a)."""
        return tensor.gather(2, self.places[:, None, :].expand(-1, tensor.shape[1], -1))

    def rows(self, tensor: Tensor) -> Tensor:
        """Of (n, d): (n, a), 0 where there is no equation."""
        return tensor.gather(1, self.places) * self.valid

    def solve(self, covariance: Tensor, misfit: Tensor, slack: float) -> Tensor:
        """(C + slack·I)⁻¹ · misfit, (n, a)."""
        factor = _factor(covariance, torch.where(self.valid, slack, OFF_VARIANCE))
        solved: Tensor = torch.cholesky_solve(misfit[..., None], factor)[..., 0] * self.valid
        return solved

    def spread(self, values: Tensor, width: int) -> Tensor:
        """(n, a) back to (n, width)."""
        return values.new_zeros(len(values), width).scatter(1, self.places, values)


def class_prior(targets: Tensor, outputs: Tensor, own: int, affine: Tensor | None) -> ClassPrior:
    """The prior of a class.

    Args:
        targets: (M, q).
        outputs: u, (M, d).
        own: how many of them, from the front, are images as they are, of which the covariance of the class is.
        affine: W of u = W·x + b where the targets are the pixels, (d, q); None where u is not affine in them.
    """
    centered, spread = (each[:own] - each[:own].mean(dim=0) for each in (targets, outputs))
    cross, within = centered.T @ spread / own, spread.T @ spread / own
    if affine is None:
        return ClassPrior(targets, outputs, cross, within, torch.zeros_like(cross), torch.zeros_like(within))
    pixel_cross, pixel_within = PIXEL_VARIANCE * affine.T, PIXEL_VARIANCE * affine @ affine.T
    return ClassPrior(targets, outputs, cross, within, pixel_cross.contiguous(), pixel_within)


def _factor(covariance: Tensor, diagonal: Tensor) -> Tensor:
    """Cholesky's of the sum; where rounding leaves it without one, with more on the diagonal."""
    factor: Tensor
    for _ in range(SLACKENED):
        factor, failed = torch.linalg.cholesky_ex(covariance + torch.diag_embed(diagonal))
        if not bool(failed.any()):
            break
        diagonal = torch.where(failed[:, None] > 0, 10 * diagonal, diagonal)
    return factor
