"""What a solver must know of a dictionary beyond its atoms: their overlaps, and how long a step may be."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SQUARINGS = 5


def gram_kernel(dictionary: Tensor, stride: int) -> Tensor:
    """Inner products of atoms by offset, the lateral weights of LCA plus one on the diagonal.

    Entry [f, g, m + i, m + j] is that of atom f with atom g placed (i, j) positions further, where m =
    (k − 1) // stride is the furthest offset at which two atoms touch: (F, F, 2m + 1, 2m + 1).
    """
    k = dictionary.shape[-1]
    reach = (k - 1) // stride * stride
    padded = F.pad(dictionary, (reach, reach, reach, reach))
    return F.conv2d(padded, dictionary, stride=stride).transpose(0, 1).flip(-2, -1).contiguous()


def lipschitz_bound(dictionary: Tensor, stride: int) -> float:
    """A safe upper bound of ‖Ω‖², the Lipschitz constant of the gradient, usually within 5 % of it.

    On an endless canvas ΩᵀΩ is a block Toeplitz operator; its norm is the largest eigenvalue of its symbol over
    all frequencies, and cutting the canvas to size only lowers it. The symbol is a trigonometric polynomial of
    degree m in each direction; on a grid of N frequencies its maximum is missed by at most a factor 1/cos(πm/N)
    per direction (Ehlich and Zeller 1964). The largest eigenvalue is bounded by the Frobenius norm of a power.
    """
    symbol, degree, grid = _symbol(dictionary.double(), stride)
    bound = _largest_eigenvalue_bound(symbol) / math.cos(math.pi * degree / grid) ** 2
    return max(bound, 1e-12)


def _symbol(dictionary: Tensor, stride: int) -> tuple[Tensor, int, int]:
    """The symbol on a grid of frequencies, (n, d, d) Hermitian; its degree and the grid's frequencies per edge.

    With stride 1, ΩΩᵀ has the same spectrum in C × C blocks, smaller than the F × F blocks of ΩᵀΩ.
    """
    k = dictionary.shape[-1]
    if stride == 1:
        degree = k - 1
        grid = 16 * max(degree, 1)
        spectrum = torch.fft.rfft2(dictionary, s=(grid, grid)).flatten(2).permute(2, 1, 0)
        return spectrum @ spectrum.mH, degree, grid
    gram = gram_kernel(dictionary, stride)
    degree = gram.shape[-1] // 2
    grid = 16 * max(degree, 1)
    centered = F.pad(gram, (0, grid - gram.shape[-1], 0, grid - gram.shape[-1])).roll((-degree, -degree), (-2, -1))
    return torch.fft.rfft2(centered).flatten(2).permute(2, 0, 1), degree, grid


def _largest_eigenvalue_bound(matrices: Tensor) -> float:
    """The largest eigenvalue of positive semidefinite matrices (n, d, d), bounded from above.

    ‖M^p‖_F^(1/p) with p = 2^5 exceeds it by a factor d^(1/2p) at most: 5 % for d = 16.
    """
    scale = float(torch.linalg.matrix_norm(matrices).amax())
    if scale == 0.0:
        return 0.0
    power = matrices / scale
    for _ in range(_SQUARINGS):
        power = power @ power
    largest = float(torch.linalg.matrix_norm(power).amax())
    return scale * float(largest ** (1 / 2**_SQUARINGS))
