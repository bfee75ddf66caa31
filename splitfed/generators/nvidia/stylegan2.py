"""StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), as StyleGAN2-ADA's files have it (arXiv 2006.06676).

One w for all layers, noise as stored in the file, single precision.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.generators.nvidia.filters import resample
from splitfed.generators.nvidia.layers import ScaledLinear, activate, convolve_each, modulated
from splitfed.generators.nvidia.reading import PickledModule

ARCHITECTURES = ("orig", "skip", "resnet")


class StyleLayer(nn.Module):
    """A modulated convolution, doubling the edges or not, with noise and an activation."""

    noise: Tensor | None
    taps: Tensor

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.affine = ScaledLinear(pickled.child("affine"))
        self.weight, self.bias = nn.Parameter(pickled.tensor("weight")), nn.Parameter(pickled.tensor("bias"))
        self.register_buffer("taps", pickled.tensor("resample_filter"))
        noise = pickled.tensor("noise_const") * pickled.tensor("noise_strength") if pickled.flag("use_noise") else None
        self.register_buffer("noise", noise)
        self._doubles = _factor(pickled) == 2
        self._activation, self._clamp = pickled.text("activation"), pickled.clamp()

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0) -> Tensor:
        """(B, I, H, W) and (B, d) -> (B, O, H, W) or twice as high and wide."""
        weights = modulated(self.weight, self.affine(w), demodulate=True)
        if self._doubles:
            x = _doubled(x, weights, self.taps)
        else:
            x = convolve_each(x, weights, padding=weights.shape[-1] // 2)
        x = x if self.noise is None else x + self.noise
        x = activate(x + self.bias[:, None, None], self._activation) * gain
        return x if self._clamp is None else x.clamp(-self._clamp * gain, self._clamp * gain)


class ToImage(nn.Module):
    """A modulated 1×1 convolution to the image's channels."""

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.affine = ScaledLinear(pickled.child("affine"))
        self.weight, self.bias = nn.Parameter(pickled.tensor("weight")), nn.Parameter(pickled.tensor("bias"))
        self._gain, self._clamp = pickled.number("weight_gain"), pickled.clamp()

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, I, H, W) and (B, d) -> (B, C, H, W)."""
        weights = modulated(self.weight, self.affine(w) * self._gain, demodulate=False)
        x = convolve_each(x, weights, padding=0) + self.bias[:, None, None]
        return x if self._clamp is None else x.clamp(-self._clamp, self._clamp)


class Beside(nn.Module):
    """What goes by the layers of a residual block: a 1×1 convolution, and edges twice as long."""

    taps: Tensor

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.weight = nn.Parameter(pickled.tensor("weight") * pickled.number("weight_gain"))
        self.register_buffer("taps", pickled.tensor("resample_filter"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, 2H, 2W)."""
        return resample(F.conv2d(x, self.weight), self.taps, up=2, margins=_around(self.taps))


class ResolutionBlock(nn.Module):
    """All layers of one resolution."""

    taps: Tensor

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        children = pickled.children()
        self._architecture = pickled.text("architecture")
        if self._architecture not in ARCHITECTURES:
            raise KeyError(f"there is no architecture {self._architecture!r}")
        self.register_buffer("taps", pickled.tensor("resample_filter"))
        self.start = nn.Parameter(pickled.tensor("const")) if pickled.has_tensor("const") else None
        self.first = StyleLayer(children["conv0"]) if "conv0" in children else None
        self.second = StyleLayer(pickled.child("conv1"))
        self.to_image = ToImage(children["torgb"]) if "torgb" in children else None
        self.skip = Beside(children["skip"]) if "skip" in children else None

    def forward(self, x: Tensor | None, image: Tensor | None, w: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and image of half the edges, None in the first block -> features and image of these edges."""
        features = self._features(x, w)
        if image is not None:
            image = resample(image, self.taps, up=2, margins=_around(self.taps))
        if self.to_image is not None:
            made = self.to_image(features, w)
            image = made if image is None else image + made
        return features, image

    def _features(self, x: Tensor | None, w: Tensor) -> Tensor:
        if self.first is None or x is None:
            assert self.start is not None, "a first block has something to start from"
            begun: Tensor = self.second(self.start.expand(len(w), -1, -1, -1), w)
            return begun
        gain = 1.0
        beside = None
        if self.skip is not None:
            gain = math.sqrt(0.5)
            beside = gain * self.skip(x)
        made: Tensor = self.second(self.first(x, w), w, gain)
        return made if beside is None else made + beside


class StyleSynthesis2(nn.Module):
    """w to an image in [−1, 1], roughly.

    Attributes:
        channels: of the image.
        edge: of the image, pixels.
    """

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.channels, self.edge = pickled.whole("img_channels"), pickled.whole("img_resolution")
        edges = pickled.wholes("block_resolutions")
        self.blocks = nn.ModuleList(ResolutionBlock(pickled.child(f"b{edge}")) for edge in edges)

    def forward(self, w: Tensor) -> Tensor:
        """(B, d) -> (B, channels, edge, edge)."""
        x: Tensor | None = None
        image: Tensor | None = None
        for block in self.blocks:
            x, image = block(x, image, w)
        assert image is not None, "the last block makes one"
        return image


def _factor(pickled: PickledModule) -> int:
    factor = pickled.whole("up")
    if factor not in (1, 2):
        raise KeyError(f"no layer enlarges {factor} times")
    return factor


def _doubled(x: Tensor, weights: Tensor, taps: Tensor) -> Tensor:
    """Zeros between pixels, the convolution (a true one, the weights mirrored), then the filter."""
    batch, outputs, inputs, size = weights.shape[:4]
    kernel = weights.transpose(1, 2).reshape(batch * inputs, outputs, size, size)
    wide = F.conv_transpose2d(x.reshape(1, -1, *x.shape[2:]), kernel, stride=2, groups=batch)
    wide = wide.view(batch, outputs, *wide.shape[2:])
    before, after, *_ = _around(taps)
    # the transposed convolution has laid size − 1 pixels around, and left out the last zero
    low, high = before + size // 2 - (size - 1), after + size // 2 - (size - 2)
    return 4 * resample(wide, taps, margins=(low, high, low, high))


def _around(taps: Tensor) -> tuple[int, int, int, int]:
    """The margins that keep a doubled image in its place."""
    width = taps.shape[-1]
    before, after = (width + 1) // 2, (width - 2) // 2
    return before, after, before, after
