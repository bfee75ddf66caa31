"""Resampling of images with a filter, in plain PyTorch.

Source: what StyleGAN2 (Karras et al. 2020, arXiv 1912.04958) and StyleGAN3 (Karras et al. 2021, arXiv 2106.12423) call
``upfirdn``: zeros between pixels, a margin, a filter, every n-th pixel.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

Margins = tuple[int, int, int, int]
"""Pixels of zeros before and after along the width, then along the height; below 0, pixels are cut off."""


def resample(x: Tensor, taps: Tensor | None, *, up: int = 1, down: int = 1, margins: Margins = (0, 0, 0, 0)) -> Tensor:
    """Each channel by itself. Brightness is kept: an upsampled image is multiplied by up².

    Args:
        x: (B, C, H, W).
        taps: the filter, (k, k), or (k,) for one that is the same along both axes; None for none.
        up: pixels along each axis that one becomes.
        down: pixels along each axis of which one is kept.
        margins: around the image after the zeros were inserted.
    """
    batch, channels, height, width = x.shape
    if up > 1:
        x = F.pad(x[:, :, :, None, :, None], (0, up - 1, 0, 0, 0, up - 1))
        x = x.reshape(batch, channels, height * up, width * up)
    x = F.pad(x, margins)  # below 0 it cuts off
    if taps is not None:
        x = _filtered(x, taps.to(x), gain=up**2)
    elif up > 1:
        x = x * up**2
    return x[:, :, ::down, ::down]


def _filtered(x: Tensor, taps: Tensor, *, gain: float) -> Tensor:
    """A true convolution: the filter is mirrored for what PyTorch calls one."""
    channels = x.shape[1]
    if taps.ndim == 2:
        kernel = (taps * gain).flip(0, 1).expand(channels, 1, -1, -1)
        return F.conv2d(x, kernel, groups=channels)
    line = (taps * gain**0.5).flip(0)
    x = F.conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
