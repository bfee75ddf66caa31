"""What StyleGAN2 and StyleGAN3 have in common: scaled linear layers, and the mapping from z to w."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.generators.nvidia.reading import PickledModule

EPSILON = 1e-8
SLOPE = 0.2
"""Of the leaky ReLUs; they are followed by a gain of √2."""
GAINS = {"linear": 1.0, "lrelu": math.sqrt(2), "relu": math.sqrt(2)}


def activate(x: Tensor, name: str) -> Tensor:
    """The activation of this name, with its gain.

    Raises:
        KeyError: none that published networks have.
    """
    if name not in GAINS:
        raise KeyError(f"there is no activation {name!r}")
    shaped = {"linear": lambda: x, "lrelu": lambda: F.leaky_relu(x, SLOPE), "relu": lambda: F.relu(x)}[name]()
    return shaped * GAINS[name]


class ScaledLinear(nn.Module):
    """A linear layer whose weights are stored in another scale than they are used in (equalized learning rates)."""

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        weight = pickled.tensor("weight") * pickled.number("weight_gain")
        has_bias = pickled.has_tensor("bias")
        bias = pickled.tensor("bias") * pickled.number("bias_gain") if has_bias else weight.new_zeros(len(weight))
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self._activation = pickled.text("activation")

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return activate(F.linear(x, self.weight, self.bias), self._activation)


class StyleMapping(nn.Module):
    """z, and a class where the network has classes, to w.

    Attributes:
        latents: numbers in z.
        classes: that the network has, 0 for none.
        mean: the mean of w, (d,), toward which it is truncated.
    """

    mean: Tensor

    def __init__(self, pickled: PickledModule) -> None:
        super().__init__()
        self.latents, self.classes = pickled.whole("z_dim"), pickled.whole("c_dim")
        layers = [pickled.child(f"fc{number}") for number in range(pickled.whole("num_layers"))]
        self.layers = nn.Sequential(*map(ScaledLinear, layers))
        self.embed = ScaledLinear(pickled.child("embed")) if self.classes else None
        self.register_buffer("mean", pickled.tensor("w_avg"))

    def forward(self, z: Tensor, labels: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:
        """Latents (B, latents) -> w (B, d).

        Args:
            z: standard normal.
            labels: int64, (B,), of the network's own classes; needed where it has some.
            truncation: ψ: 1 for none, 0 for nothing but the mean.
        """
        x = normalized(z)
        if self.embed is not None:
            assert labels is not None, "a network with classes needs some"
            x = torch.cat([x, normalized(self.embed(F.one_hot(labels, self.classes).to(z)))], dim=1)
        return self.mean.lerp(self.layers(x), truncation)


def normalized(x: Tensor) -> Tensor:
    """Rows scaled to a mean square of 1."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()


def modulated(weight: Tensor, styles: Tensor, *, demodulate: bool) -> Tensor:
    """A convolution's weights for each image: (O, I, k, k) and (B, I) to (B, O, I, k, k).

    Scaled along the inputs by the styles, and back to unit size along the outputs.
    """
    weights = weight[None] * styles[:, None, :, None, None]
    if demodulate:
        weights = weights * (weights.square().sum(dim=(2, 3, 4), keepdim=True) + EPSILON).rsqrt()
    return weights


def convolve_each(x: Tensor, weights: Tensor, *, padding: int) -> Tensor:
    """Each image (B, I, H, W) with weights of its own (B, O, I, k, k)."""
    batch, outputs, inputs = weights.shape[:3]
    grouped = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), padding=padding, groups=batch)
    assert inputs == x.shape[1]
    return grouped.view(batch, outputs, *grouped.shape[2:])
