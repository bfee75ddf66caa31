"""Convolutional networks for images of any size from 8×8: a small U-Net, and the correction that is built on it.

The U-Net is that of Ronneberger, Fischer and Brox 2015, "U-Net: convolutional networks for biomedical image
segmentation", with one level and a bottleneck that also sees the activation. It works on patches of 2×2 pixels, and
puts pixels together again as Shi et al. 2016, "Real-time single image and video super-resolution using an efficient
sub-pixel convolutional neural network", do: a processor is kept busier by many maps on few places than by few on many.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.attacks.residual import Correction, Residual
from splitfed.types import ImageShape

LATENT_MAPS = 32
"""Maps at a quarter of the resolution that are made of the activation."""
PATCH_PX = 2
"""Edge of a patch."""


class Refiner(nn.Module):
    """Maps (B, M, H, W) and a hidden vector (B, width) to what is to be added to an image, (B, C, H, W)."""

    def __init__(self, maps: int, shape: ImageShape, *, width: int, channels: int) -> None:
        super().__init__()
        quarter = [-(-edge // (2 * PATCH_PX)) for edge in shape[1:]]
        self.latent = nn.Linear(width, LATENT_MAPS * quarter[0] * quarter[1])
        self.quarter = tuple(quarter)
        self.down_half = _convolution(maps * PATCH_PX**2, channels)
        self.down_quarter = _convolution(channels, 2 * channels)
        self.bottom = _convolution(2 * channels + LATENT_MAPS, 2 * channels)
        self.widen = nn.Conv2d(2 * channels, 4 * channels, kernel_size=1)
        self.up_half = _convolution(2 * channels, channels)
        self.again = _convolution(channels, channels)
        self.out = _convolution(channels, shape.channels * PATCH_PX**2)

    def forward(self, maps: Tensor, hidden: Tensor) -> Tensor:
        """The correction, in the units of the image."""
        half = F.gelu(self.down_half(_patches(maps).contiguous(memory_format=torch.channels_last)))
        quarter = F.gelu(self.down_quarter(F.avg_pool2d(half, 2, ceil_mode=True)))
        latent = self.latent(hidden).view(len(maps), LATENT_MAPS, *self.quarter)
        bottom = F.gelu(self.bottom(torch.cat([quarter, latent], dim=1)))
        up = _cropped(F.pixel_shuffle(self.widen(bottom), 2), half)
        up = F.gelu(self.up_half(torch.cat([up, half], dim=1)))
        up = F.gelu(self.again(up))
        return _cropped(F.pixel_shuffle(self.out(up), PATCH_PX), maps)


class ConvolutionalResidual(Correction):
    """A residual network's correction of ridge's image, then a U-Net's correction of their sum.

    Inputs are rows: whitened features and label (B, d), then ridge's image (B, C·H·W).
    """

    def __init__(self, dense: Residual, shape: ImageShape, *, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        self.dense = dense
        self.refiner = Refiner(shape.channels, shape, width=dense.out.in_features, channels=channels)
        draw(self.refiner, generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, d + C·H·W) to pixels as rows (B, C·H·W), to be added to ridge's image."""
        whitened, start = torch.split(inputs, [self.dense.first.in_features, self.shape.pixels], dim=1)
        hidden = self.dense.hidden(whitened)
        correction = self.dense.out(hidden)
        image = (start + correction).view(-1, *self.shape)
        refined: Tensor = correction + self.refiner(image, hidden).flatten(1)
        return refined

    def silence(self) -> None:
        self.dense.silence()
        silence(self.refiner)


@torch.no_grad()
def draw(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all linear and convolutional layers: uniform within ±1/√fan_in, PyTorch's own range."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            if layer.bias is not None:
                layer.bias.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def silence(refiner: Refiner) -> None:
    """Make a refiner add nothing."""
    refiner.out.weight.zero_()
    if refiner.out.bias is not None:
        refiner.out.bias.zero_()


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _patches(maps: Tensor) -> Tensor:
    """Each patch's pixels as maps of their own, (B, M·4, ⌈H/2⌉, ⌈W/2⌉); an odd edge is repeated."""
    height, width = maps.shape[-2:]
    odd = -width % PATCH_PX, -height % PATCH_PX
    whole = F.pad(maps, (0, odd[0], 0, odd[1]), mode="replicate") if any(odd) else maps
    return F.pixel_unshuffle(whole, PATCH_PX)


def _cropped(maps: Tensor, like: Tensor) -> Tensor:
    """Without what lies beyond the edges of `like`."""
    return maps[..., : like.shape[-2], : like.shape[-1]]
