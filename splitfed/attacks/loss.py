"""What attacks are tuned and trained by: the scores that are reported, as a loss."""

from __future__ import annotations

from torch import Tensor

from splitfed.metrics.fast import MSE_FLOOR, ssim_of_floats
from splitfed.types import ImageShape


def leak_losses(predicted: Tensor, targets: Tensor, shape: ImageShape, *, ssim_weight: float = 1.0) -> Tensor:
    """(100 dB − PSNR) / 10 dB + ssim_weight · (1 − SSIM) of each image, (B,), differentiably.

    Args:
        predicted: pixels as rows, (B, C·H·W); clamped to [0, 1], so that a black background costs nothing.
        targets: the same shape.
        shape: of an image.
        ssim_weight: 0 leaves the PSNR alone.
    """
    predicted = predicted.clamp(0, 1)
    mse = (predicted - targets).square().mean(dim=1)
    losses = (mse.clamp_min(MSE_FLOOR) / MSE_FLOOR).log10()
    if not ssim_weight:
        return losses
    return losses + ssim_weight * (1 - ssim_of_floats(predicted.view(-1, *shape), targets.view(-1, *shape)))
