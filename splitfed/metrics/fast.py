"""PSNR and SSIM as an attack and the live view use them: fast, differentiable, and without a package to import.

What is reported is `splitfed.metrics.quality`. PSNR is the same number. SSIM differs in how images go on beyond their
edges: in the mean over images by up to 0.0025 on Medical MNIST at 28×28 and 0.008 on MNIST, whose edges are black
(docs/evaluation.md). That is near enough to learn from and to watch, and several times as fast.
"""

from __future__ import annotations

import torch
from torch import Tensor

MSE_FLOOR = 1e-10
"""Identical images would have an infinite PSNR; with this floor they have 100 dB and means stay finite."""

CACHED_IMAGES = 64
"""Images whose SSIM is worked out at a time: what lies between stays in the processor's cache."""

WINDOW_TAPS = 11
WINDOW_SIGMA_PX = 1.5


def fast_psnr_db(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image, in dB.

    Args:
        reconstruction: (B, C, H, W), in [0, 1]; values outside are clamped.
        target: the originals, same shape.

    Returns:
        float32, (B,), in [0, 100]; 100 means identical (see `MSE_FLOOR`).

    Raises:
        ValueError: the shapes differ.

    >>> black = torch.zeros(1, 1, 8, 8)
    >>> fast_psnr_db(black + 0.1, black).round(decimals=3).tolist()
    [20.0]
    """
    reconstruction, target = clamped_pair(reconstruction, target)
    mse = (reconstruction - target).square().flatten(1).mean(dim=1)
    return (-10.0 * mse.clamp_min(MSE_FLOOR).log10()).float()


def fast_ssim(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity per image, mean over all pixels and channels.

    The map is that of `skimage.metrics.structural_similarity(..., gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=1, full=True)`: an 11-tap Gaussian window at every pixel, images
    mirrored at their edges, the outermost pixel twice. torchmetrics mirrors them with that pixel once.

    Args:
        reconstruction: (B, C, H, W), in [0, 1]; values outside are clamped.
        target: the originals, same shape.

    Returns:
        float32, (B,), in [-1, 1]; 1 means identical.

    Raises:
        ValueError: the shapes differ.

    Source: Wang et al. 2004, eq. 13.
    """
    return torch.cat([values.flatten(1).mean(dim=1) for values in _maps(reconstruction, target)]).float()


def fast_ssim_cropped(reconstruction: Tensor, target: Tensor) -> Tensor:
    """The same over the pixels whose window lies within the image: scikit-image's scalar, float32, (B,).

    Edges must have at least `WINDOW_TAPS` pixels; see `splitfed.metrics.quality.ssim_cropped`.
    """
    border = WINDOW_TAPS // 2
    inner = (values[..., border:-border, border:-border] for values in _maps(reconstruction, target))
    return torch.cat([values.flatten(1).mean(dim=1) for values in inner]).float()


def ssim_of_floats(a: Tensor, b: Tensor) -> Tensor:
    """SSIM per image in the tensors' own precision, unclamped and differentiable: (B,).

    The core of `fast_ssim`, which an attack may also minimize.
    """
    return _map_of_floats(a, b).flatten(1).mean(dim=1)


def clamped_pair(reconstruction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in [0, 1] and float64, since the variances of SSIM are differences of nearly equal numbers.

    Raises:
        ValueError: the shapes differ.
    """
    if reconstruction.shape != target.shape:
        raise ValueError(
            f"reconstruction {tuple(reconstruction.shape)} and target {tuple(target.shape)} differ in shape"
        )
    return reconstruction.double().clamp(0, 1), target.double().clamp(0, 1)


def _maps(reconstruction: Tensor, target: Tensor) -> list[Tensor]:
    """SSIM at every pixel, for some images at a time."""
    reconstruction, target = clamped_pair(reconstruction, target)
    parts = zip(torch.split(reconstruction, CACHED_IMAGES), torch.split(target, CACHED_IMAGES), strict=True)
    return [_map_of_floats(a, b) for a, b in parts]


def _map_of_floats(a: Tensor, b: Tensor) -> Tensor:
    """SSIM at every pixel, (B, C, H, W)."""
    rows, columns = (_window_matrix(edge, a) for edge in a.shape[-2:])

    def smooth(x: Tensor) -> Tensor:
        return rows @ x @ columns.T

    # K1 = 0.01 and K2 = 0.03 of Wang et al., at a data range of 1
    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b = smooth(a), smooth(b)
    var_a = smooth(a * a) - mean_a * mean_a
    var_b = smooth(b * b) - mean_b * mean_b
    covariance = smooth(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return luminance * structure


def _window_matrix(edge: int, like: Tensor) -> Tensor:
    """The Gaussian filter along one axis as a matrix (edge, edge): two products smooth an image."""
    offsets = torch.arange(WINDOW_TAPS) - WINDOW_TAPS // 2
    kernel = torch.exp(-0.5 * (offsets.double() / WINDOW_SIGMA_PX).square())
    kernel /= kernel.sum()
    # mirrored: ... 1 0 | 0 1 ... edge-1 | edge-1 ..., with period 2·edge
    columns = (torch.arange(edge)[:, None] + offsets) % (2 * edge)
    columns = torch.minimum(columns, 2 * edge - 1 - columns)
    matrix = torch.zeros(edge, edge, dtype=torch.float64)
    matrix.scatter_add_(1, columns, kernel.expand(edge, -1))
    return matrix.to(dtype=like.dtype, device=like.device)
