"""The problem that every solver solves, and the certificate of its solution.

An image X is seen on a *canvas*: the pixels that some atom reaches, with zeros (the mean of a standardized image)
around it. Code position (i, j) places its atom with the upper left corner at canvas pixel (stride·i, stride·j), so
every atom lies wholly on the canvas, keeps its unit norm, and two atoms' inner product depends only on their offset:
the lateral weights G = Ω∗Ω of LCA are exact at the borders too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

_SMALLEST_VECTOR = 16  # output channels below which a convolution wastes its vector lanes


@dataclass(frozen=True)
class Geometry:
    """How atoms of ``kernel_size`` pixels lie over an image, ``stride`` pixels apart."""

    kernel_size: int
    stride: int

    def positions(self, pixels: int) -> int:
        """Positions of an atom along an edge of so many pixels: ceil(pixels / stride)."""
        return math.ceil(pixels / self.stride)

    def _margins(self, pixels: int) -> tuple[int, int]:
        """Pixels to add before and after an edge, so that the atoms reach both ends alike; negative crops."""
        overhang = self.stride * (self.positions(pixels) - 1) + self.kernel_size - pixels
        return overhang // 2, overhang - overhang // 2

    def canvas(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) on their canvas, (B, C, H', W') with H' = stride·(ceil(H/stride) − 1) + kernel_size."""
        return F.pad(x, (*self._margins(x.shape[-1]), *self._margins(x.shape[-2])))

    def crop(self, canvas: Tensor, height: int, width: int) -> Tensor:
        """The adjoint of `canvas`: the part of it that lies over an image of this size."""
        (top, bottom), (left, right) = self._margins(height), self._margins(width)
        return F.pad(canvas, (-left, -right, -top, -bottom))


class Atoms:
    """A dictionary's two linear maps, between codes (B, F, h, w) and canvases (B, C, H', W').

    Args:
        dictionary: (F, C, k, k).
        stride: pixels between neighboring code positions.
    """

    def __init__(self, dictionary: Tensor, stride: int) -> None:
        self.dictionary = dictionary
        self.stride = stride
        self._phases = self._phase_count()

    def analyze(self, canvas: Tensor) -> Tensor:
        """Ωᵀ: the inner product of each atom at each position with the canvas."""
        return F.conv2d(canvas, self.dictionary, stride=self.stride)

    def synthesize(self, codes: Tensor) -> Tensor:
        """Ω, written R ⊛ Ω in the paper: the canvas that the codes describe."""
        if self._phases == 1:
            return F.conv_transpose2d(codes, self.dictionary, stride=self.stride)
        return self._synthesize_by_phases(codes)

    def correlate(self, codes: Tensor, canvas: Tensor) -> Tensor:
        """The gradient of ⟨R ⊛ Ω, canvas⟩ with respect to Ω: (F, C, k, k), summed over the batch."""
        shape = list(self.dictionary.shape)
        gradient: Tensor = conv2d_weight(canvas, shape, codes, stride=self.stride)  # type: ignore[no-untyped-call]
        return gradient

    def _phase_count(self) -> int:
        """Pixels per edge of the output blocks in `synthesize`: one where channels already fill a vector."""
        channels = self.dictionary.shape[1]
        if self.stride > 1 or self.dictionary.device.type != "cpu":
            return 1
        return max(q for q in (1, 2, 4) if q == 1 or channels * (q // 2) ** 2 < _SMALLEST_VECTOR // 2)

    @cached_property
    def _phase_kernel(self) -> Tensor:
        """The kernel that computes a block of q×q output pixels as C·q² channels: (C·q², F, k+q−1, k+q−1)."""
        q = self._phases
        flipped = self.dictionary.flip(-2, -1).transpose(0, 1)
        blocks = [F.pad(flipped, (b, q - 1 - b, a, q - 1 - a)) for a in range(q) for b in range(q)]
        return torch.stack(blocks, 1).flatten(0, 1).contiguous()

    def _synthesize_by_phases(self, codes: Tensor) -> Tensor:
        """`synthesize` for few channels: the same sums, with output pixels in the place of missing channels."""
        q, k = self._phases, self.dictionary.shape[-1]
        height, width = codes.shape[-2] + k - 1, codes.shape[-1] + k - 1
        padded = F.pad(codes, (k - 1, k - 1 + -width % q, k - 1, k - 1 + -height % q))
        blocks = F.pixel_shuffle(F.conv2d(padded, self._phase_kernel, stride=q), q)
        return blocks[..., :height, :width]


class Certificate(NamedTuple):
    """How good a code is, per sample, (B,).

    Attributes:
        objective: ½‖X − R ⊛ Ω‖² + λ‖R‖₁.
        relative_gap: an upper bound of (objective − minimum), as a share of the zero code's objective ½‖X‖².
    """

    objective: Tensor
    relative_gap: Tensor


def certify(canvas: Tensor, codes: Tensor, residual: Tensor, correlation: Tensor, l1_weight: float) -> Certificate:
    """The objective of codes and their duality gap.

    The dual of eq. 1 is to maximize ½‖X‖² − ½‖X − U‖² where no atom correlates with U by more than λ. The
    residual, scaled until it complies, is such a U; any code's objective exceeds the minimum by at most the
    difference to its value.

    Args:
        canvas: X, (B, C, H', W').
        codes: R ≥ 0, (B, F, h, w).
        residual: X − R ⊛ Ω.
        correlation: Ωᵀ of the residual.
        l1_weight: λ ≥ 0.
    """
    energy = _inner(canvas, canvas)
    residual_energy = _inner(residual, residual)
    overlap = _inner(canvas, residual)
    objective = residual_energy / 2 + l1_weight * codes.flatten(1).sum(1, dtype=torch.float64)
    tiny = torch.finfo(torch.float64).tiny
    largest = correlation.flatten(1).amax(1).double()
    allowed = torch.where(largest > 0, l1_weight / largest.clamp_min(tiny), torch.inf)
    scale = torch.minimum(allowed, overlap / residual_energy.clamp_min(tiny)).clamp_min(0)
    dual = scale * overlap - scale.square() * residual_energy / 2
    gap = (objective - dual).clamp_min(0) / (energy / 2).clamp_min(tiny)
    return Certificate(objective, gap)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ per sample, summed in float64: (B,)."""
    return (a * b).flatten(1).sum(1, dtype=torch.float64)
