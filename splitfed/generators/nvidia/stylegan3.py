"""StyleGAN3 (Karras et al. 2021, arXiv 2106.12423), in the configurations t and r.

One w for all layers, single precision. The filters of each layer are in the file.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.generators.nvidia.filters import resample
from splitfed.generators.nvidia.layers import SLOPE, ScaledLinear, convolve_each, modulated
from splitfed.generators.nvidia.reading import PickledModule


class FourierInput(nn.Module):
    """Waves in the plane, shifted and turned by w, and mixed."""

    transform: Tensor
    frequencies: Tensor
    phases: Tensor

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.affine = ScaledLinear(pickled.child("affine"))
        weight = pickled.tensor("weight")
        self.weight = nn.Parameter(weight / math.sqrt(weight.shape[0]))
        self.register_buffer("transform", pickled.tensor("transform"))
        self.register_buffer("frequencies", pickled.tensor("freqs"))
        self.register_buffer("phases", pickled.tensor("phases"))
        self._width, self._height = pickled.wholes("size")
        self._rate, self._band = pickled.number("sampling_rate"), pickled.number("bandwidth")

    def forward(self, w: Tensor) -> Tensor:
        """(B, d) -> (B, C, H, W)."""
        transforms = _turned_and_shifted(self.affine(w)) @ self.transform
        phases = self.phases + (self.frequencies @ transforms[:, :2, 2:]).squeeze(2)
        frequencies = self.frequencies @ transforms[:, :2, :2]
        # waves that the grid cannot carry any more fade
        excess = (frequencies.norm(dim=2) - self._band) / (self._rate / 2 - self._band)
        amplitudes = (1 - excess).clamp(0, 1)
        angles = self._grid(w) @ frequencies.transpose(1, 2) + phases[:, None]
        waves = torch.sin(2 * math.pi * angles) * amplitudes[:, None]
        mixed: Tensor = waves @ self.weight.T
        return mixed.transpose(1, 2).reshape(len(w), -1, self._height, self._width)

    def _grid(self, like: Tensor) -> Tensor:
        """The places of the pixels' centers, (H·W, 2), x before y."""
        x, y = (
            ((torch.arange(edge).to(like) + 0.5) / edge - 0.5) * edge / self._rate
            for edge in (self._width, self._height)
        )
        return torch.stack([x.repeat(self._height), y.repeat_interleave(self._width)], dim=1)


class FilteredLayer(nn.Module):
    """A modulated convolution and a leaky ReLU between an upsampling and a downsampling filter."""

    up_taps: Tensor | None
    down_taps: Tensor | None
    magnitude: Tensor

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.affine = ScaledLinear(pickled.child("affine"))
        self.weight, self.bias = nn.Parameter(pickled.tensor("weight")), nn.Parameter(pickled.tensor("bias"))
        for name, stored in (("up_taps", "up_filter"), ("down_taps", "down_filter")):
            self.register_buffer(name, pickled.tensor(stored) if pickled.has_tensor(stored) else None)
        self.register_buffer("magnitude", pickled.tensor("magnitude_ema"))
        self._is_last = pickled.flag("is_torgb")
        self._up, self._down = pickled.whole("up_factor"), pickled.whole("down_factor")
        first, last, top, bottom = pickled.wholes("padding")
        self._margins = (first, last, top, bottom)
        self._clamp = pickled.clamp()

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, I, H, W) and (B, d) -> (B, O, H', W')."""
        weights = self._weights(self.affine(w)) * self.magnitude.rsqrt()
        x = convolve_each(x, weights, padding=self.weight.shape[-1] - 1) + self.bias[:, None, None]
        x = resample(x, self.up_taps, up=self._up, margins=self._margins)
        x = x if self._is_last else F.leaky_relu(x, SLOPE) * math.sqrt(2)
        x = x if self._clamp is None else x.clamp(-self._clamp, self._clamp)
        return resample(x, self.down_taps, down=self._down)

    def _weights(self, styles: Tensor) -> Tensor:
        if self._is_last:
            return modulated(self.weight, styles / math.sqrt(self.weight[0].numel()), demodulate=False)
        # sizes that the demodulation takes out again; without, sums of squares lose digits
        weight = self.weight * self.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        return modulated(weight, styles * styles.square().mean(dim=1, keepdim=True).rsqrt(), demodulate=True)


class StyleSynthesis3(nn.Module):
    """w to an image in [−1, 1], roughly.

    Attributes:
        channels: of the image.
        edge: of the image, pixels.
    """

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.channels, self.edge = pickled.whole("img_channels"), pickled.whole("img_resolution")
        names = pickled.state.get("layer_names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise KeyError("the synthesis names no layers")
        self.input = FourierInput(pickled.child("input"))
        self.layers = nn.ModuleList(FilteredLayer(pickled.child(name)) for name in names)
        self._scale = pickled.number("output_scale")

    def forward(self, w: Tensor) -> Tensor:
        """(B, d) -> (B, channels, edge, edge)."""
        x: Tensor = self.input(w)
        for layer in self.layers:
            x = layer(x, w)
        return x * self._scale


def _turned_and_shifted(t: Tensor) -> Tensor:
    """The transform of the plane that w asks for, (B, 3, 3): a rotation after a translation.

    Args:
        t: (B, 4), cosine and sine of the angle and the way along x and y, all scaled by one number.
    """
    cosine, sine, along_x, along_y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
    zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)

    def matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)

    turned = matrix((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, one))
    shifted = matrix((one, zero, -along_x), (zero, one, -along_y), (zero, zero, one))
    return turned @ shifted
