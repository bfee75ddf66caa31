"""Descent from an image to one whose activation is the one that was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LEARNING_RATE = 0.1
"""Of Adam, in units of the start's standard error in each direction; it falls to zero over the last half."""
BETAS = (0.9, 0.99)
MOST_DIRECTIONS = 2048
"""More directions of the start's error than this are not told apart: an eigendecomposition takes cubic time."""


@dataclass(frozen=True)
class Weights:
    """How much an observed activation counts against what is known of images.

    Attributes:
        misfit: what the front's output for the right image may be off by, beside the defense's noise: a share of
            the features' mean variance, > 0. Descent is local, and far from the image a front says little.
        variation: weight of the total variation, in nats per unit of brightness, ≥ 0.
    """

    misfit: float
    variation: float


def error_directions(errors: Tensor, held_out: Tensor) -> Tensor:
    """A factor L, (p, r), of the covariance L·Lᵀ of a start's errors.

    Args:
        errors: on the images that the start was fitted to, (n, p); the directions are theirs.
        held_out: on others, (m, p); the size is theirs.
    """
    size = held_out.square().mean().sqrt() / errors.square().mean().sqrt().clamp_min(1e-12)
    chosen = torch.linspace(0, len(errors) - 1, min(len(errors), MOST_DIRECTIONS)).long()
    errors = errors[chosen] if errors.shape[1] > MOST_DIRECTIONS else errors
    if len(errors) < errors.shape[1]:
        scaled: Tensor = errors.T * size / len(errors) ** 0.5
        return scaled
    variances, directions = torch.linalg.eigh(errors.double().T @ errors.double() / len(errors))
    factor: Tensor = directions * variances.clamp_min(0).sqrt() * size.double()
    return factor.float()


def total_variation(images: Tensor) -> Tensor:
    """Sum of the absolute differences of neighboring pixels, (B,), of images (B, C, H, W)."""
    down = (images[..., 1:, :] - images[..., :-1, :]).abs()
    right = (images[..., 1:] - images[..., :-1]).abs()
    return down.flatten(1).sum(dim=1) + right.flatten(1).sum(dim=1)


@dataclass(frozen=True)
class Descent:
    """Minimize over z, for x = clamp(start + L·z) and each image by itself,

        ½ Σⱼ (expected(x)ⱼ − activationⱼ)² / (noiseⱼ + misfit·scale) + variation·TV(x) + ½‖z‖².

    The last term is minus the logarithm of how likely the start's error is L·z; L also makes all directions of z
    about equally hard, so that few steps do.

    Attributes:
        expected: pixels (B, C, H, W) to mean activations (B, ...), differentiably.
        directions: L, (C·H·W, r).
        noise: variance of the defense's noise on each feature, (d,).
        scale: mean variance of the features.
    """

    expected: Callable[[Tensor], Tensor]
    directions: Tensor
    noise: Tensor
    scale: float

    def images(self, start: Tensor, activation: Tensor, weights: Weights, steps: int) -> Iterator[Tensor]:
        """The images (B, C, H, W) in [0, 1] before the first step and after each of ``steps``.

        Args:
            start: (B, C, H, W).
            activation: as observed, (B, d).
            weights: of the terms.
            steps: of Adam.
        """
        error = torch.zeros(len(start), self.directions.shape[1], requires_grad=True)
        optimizer = torch.optim.Adam([error], betas=BETAS)
        trust = 1 / (self.noise + weights.misfit * self.scale)
        for step in range(steps):
            with torch.enable_grad():
                image = self._image(start, error)
                misfit = (self.expected(image).flatten(1) - activation).square() @ trust
                loss = misfit / 2 + error.square().sum(dim=1) / 2 + weights.variation * total_variation(image)
                # asked for, not accumulated: the front's own weights have no part in this
                (error.grad,) = torch.autograd.grad(loss.sum(), [error])
            yield image.detach()
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * min(1.0, 2 * (1 - step / steps))
            optimizer.step()
        yield self._image(start, error).detach()

    def _image(self, start: Tensor, error: Tensor) -> Tensor:
        return (start + (error @ self.directions.T).view_as(start)).clamp(0, 1)
