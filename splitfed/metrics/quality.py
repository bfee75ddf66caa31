"""How close a reconstruction is to its original, as it is reported: PSNR and SSIM, one number per image.

PSNR and SSIM are torchmetrics' numbers, SSIM over the whole map; beside them stands scikit-image's SSIM, which leaves
out a border. All take float images in [0, 1] (values outside are clamped), so the data range is 1 for every data set.
Down is the better defense for each. Nothing is averaged here; whoever reports reduces once.

torchmetrics takes two seconds to import, so it is imported when the first number is asked for. Attacks and the live
view use `splitfed.metrics.fast`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.metrics.fast import CACHED_IMAGES, WINDOW_SIGMA_PX, WINDOW_TAPS, clamped_pair, fast_ssim_cropped

PSNR_CEILING_DB = 100.0
"""PSNR of identical images, and of all that are closer than this: theirs would be infinite, and means stay finite."""

SMALLEST_EDGE = WINDOW_TAPS // 2 + 1
"""Pixels that torchmetrics' SSIM needs: it goes on beyond an edge with the 5 pixels next to the outermost one."""


def psnr_db(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image, in dB, as torchmetrics has it.

    Args:
        reconstruction: (B, C, H, W), in [0, 1].
        target: the originals, same shape.

    Returns:
        float32, (B,), in [0, 100]; 100 means identical (see `PSNR_CEILING_DB`).

    Raises:
        ValueError: the shapes differ.

    >>> black = torch.zeros(1, 1, 8, 8)
    >>> psnr_db(black + 0.1, black).round(decimals=3).tolist()
    [20.0]
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    a, b = clamped_pair(reconstruction, target)
    values = peak_signal_noise_ratio(a, b, data_range=1.0, reduction="none", dim=(1, 2, 3))
    return values.clamp_max(PSNR_CEILING_DB).float()


def ssim(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity per image, mean over the whole map and all channels, as torchmetrics has it.

    An 11-tap Gaussian window with σ 1.5 px at every pixel; images are mirrored at their edges, the outermost pixel
    once. In float32, which costs 1e-4 per image: float64 takes torchmetrics fifteen times as long.

    Args:
        reconstruction: (B, C, H, W), in [0, 1], at least `SMALLEST_EDGE` pixels high and wide.
        target: the originals, same shape.

    Returns:
        float32, (B,), in [-1, 1]; 1 means identical.

    Raises:
        ValueError: the shapes differ, or the images are too small.

    Source: Wang et al. 2004, eq. 13.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    _check_edges(target, SMALLEST_EDGE)
    parts = (torch.split(images.float(), CACHED_IMAGES) for images in clamped_pair(reconstruction, target))
    values = [
        structural_similarity_index_measure(
            a, b, sigma=WINDOW_SIGMA_PX, kernel_size=WINDOW_TAPS, reduction="none", data_range=1.0
        )
        for a, b in zip(*parts, strict=True)
    ]
    return torch.cat([torch.as_tensor(value) for value in values])


def ssim_cropped(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity per image without a border of 5 pixels, which at 28×28 is 59 % of the image.

    The scalar of `skimage.metrics.structural_similarity(..., gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1)` to 1e-6, five times as fast as a loop over it.

    Args:
        reconstruction: (B, C, H, W), in [0, 1], at least `WINDOW_TAPS` pixels high and wide.
        target: the originals, same shape.

    Returns:
        float32, (B,), in [-1, 1]; 1 means identical.

    Raises:
        ValueError: the shapes differ, or the images are smaller than the window.
    """
    _check_edges(target, WINDOW_TAPS)
    return fast_ssim_cropped(reconstruction, target)


def has_cropped(images: Tensor) -> bool:
    """Whether images are large enough for `ssim_cropped`.

    >>> has_cropped(torch.zeros(1, 1, 28, 28)), has_cropped(torch.zeros(1, 1, 8, 8))
    (True, False)
    """
    return min(images.shape[-2:]) >= WINDOW_TAPS


def _check_edges(images: Tensor, least: int) -> None:
    if min(images.shape[-2:]) < least:
        height, width = images.shape[-2:]
        raise ValueError(f"SSIM needs images of at least {least}×{least} pixels, got {height}×{width}")
