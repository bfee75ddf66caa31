"""The fast path on the CPU: locally greedy coordinate descent, and maps and gradients that touch active codes only.

Moreau, Oudre and Vayatis 2018 (arXiv 1705.10087): one coefficient at a time goes to its own minimum, in each
neighborhood the one that moves furthest; what it explains is taken out of the correlations that its atom touches,
(2k − 1)²·F of them. With few active coefficients that is far less than one convolution over all of them per
iteration. The loops are compiled by numba.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from splitfed.models.sparse.compiled import LANES, Array, over_samples, task_ranges
from splitfed.models.sparse.gradient import GradientReport, GradientStopping
from splitfed.models.sparse.problem import Atoms
from splitfed.models.sparse.solution import Solution, Stopping
from splitfed.models.sparse.spectrum import gram_kernel


class SparseAtoms(Atoms):
    """`Atoms` whose maps cost what the active codes cost; for float32 and float64 on the CPU."""

    def synthesize(self, codes: Tensor) -> Tensor:
        from splitfed.models.sparse.image_kernels import synthesize

        canvases = self.canvases(codes)
        work = partial(synthesize, codes.contiguous().numpy(), self.rows(), _places(self, codes), canvases.numpy())
        over_samples(len(codes), lambda _, first, last: work(first, last))
        return self.unpacked(canvases, codes)

    def correlate(self, codes: Tensor, canvas: Tensor) -> Tensor:
        from splitfed.models.sparse.image_kernels import correlate

        canvases = self.canvases(codes)
        self.unpacked(canvases, codes).copy_(canvas)
        work = partial(correlate, codes.contiguous().numpy(), canvases.numpy(), _places(self, codes))
        parts = codes.new_zeros(len(task_ranges(len(codes))), len(self.rows()))
        flat = parts.numpy()
        over_samples(len(codes), lambda task, first, last: work(flat[task], first, last))
        return self.unfolded(parts.sum(0))

    def unfolded(self, rows: Tensor) -> Tensor:
        """(F, C, k, k) from memory laid out as `rows`."""
        features, channels, k, _ = self.dictionary.shape
        return rows.view(features, k, -1)[..., : k * channels].view(features, k, k, channels).permute(0, 3, 1, 2)

    def rows(self, scales: Tensor | None = None) -> Array:
        """The atoms, each times its scale (F,), as the compiled loops want them; see `image_kernels`."""
        atoms = self.dictionary if scales is None else self.dictionary * scales.view(-1, 1, 1, 1)
        rows = atoms.permute(0, 2, 3, 1).flatten(2)
        return F.pad(rows, (0, -rows.shape[-1] % LANES)).flatten().numpy()

    def canvases(self, codes: Tensor) -> Tensor:
        """Zeros to hold a canvas for each sample, as the compiled loops want it."""
        row, _, _, k = _places(self, codes)
        return codes.new_zeros(len(codes), row * (self.stride * (codes.shape[-2] - 1) + k) + LANES)

    def unpacked(self, canvases: Tensor, codes: Tensor) -> Tensor:
        """The (B, C, H', W') in such memory."""
        channels, row = self.dictionary.shape[1], _places(self, codes)[0]
        pixels = canvases[:, :-LANES].view(len(codes), -1, row // channels, channels)
        return pixels.permute(0, 3, 1, 2)


def _places(atoms: Atoms, codes: Tensor) -> tuple[int, int, int, int]:
    """Where pixels and codes lie on a canvas; see `image_kernels`."""
    channels, k = atoms.dictionary.shape[1:3]
    row = (atoms.stride * (codes.shape[-1] - 1) + k) * channels
    return row, atoms.stride * row, atoms.stride * channels, k


def lgcd(canvas: Tensor, atoms: Atoms, l1_weight: float, stopping: Stopping, start: Tensor | None = None) -> Solution:
    """Minimize ½‖X − R ⊛ Ω‖² + λ‖R‖₁ over R ≥ 0, each sample for itself; arguments as in `fista`.

    Sweeps over the image take every step above a threshold, which is lowered once none is left; the gap is looked
    at each time. ``Solution.iterations`` counts sweeps.
    """
    from splitfed.models.sparse.descent_kernels import descend

    dictionary = atoms.dictionary
    batch, features = len(canvas), len(dictionary)
    gram = gram_kernel(dictionary, atoms.stride)
    norms = _squared_norms(gram)
    spare = -features % LANES
    codes = canvas.new_zeros(batch, features, *_positions(canvas, atoms))
    gap = torch.empty(batch, dtype=torch.float64)
    sweeps = torch.empty(batch, dtype=torch.int64)
    steps = torch.empty(batch, dtype=torch.int64)
    active = torch.empty(batch, dtype=torch.int64)
    work = partial(
        descend,
        canvas.contiguous().flatten(1).numpy(),
        (canvas.new_empty(0, 0) if start is None else start.contiguous().flatten(1)).numpy(),
        F.pad(dictionary.permute(2, 3, 1, 0), (0, spare)).flatten().numpy(),
        _rows(F.pad(gram, (0, 0, 0, 0, 0, spare))),
        F.pad(torch.where(norms > 0, 1 / norms, 0), (0, spare)).numpy(),
        (*codes.shape[2:], features + spare, gram.shape[-1] // 2),
        _places(atoms, codes),
        codes.numpy().dtype.type(l1_weight),
        stopping.tolerance,
        stopping.max_iterations,
        codes.flatten(1).numpy(),
        gap.numpy(),
        sweeps.numpy(),
        steps.numpy(),
        active.numpy(),
    )
    over_samples(batch, lambda _, first, last: work(first, last))
    multiply_adds = dictionary.numel() * math.prod(codes.shape[2:]) + steps * gram[0].numel()
    return Solution(codes, gap, sweeps, active, multiply_adds)


def pull_back(
    atoms: Atoms, canvas: Tensor, codes: Tensor, gradient: Tensor, stopping: GradientStopping, *, learns: bool = True
) -> tuple[Tensor, Tensor | None, GradientReport]:
    """`gradient.pull_back`, on the active sets only and sample by sample.

    Preconditioned by symmetric Gauss-Seidel, so that the residual is measured in that norm.
    """
    from splitfed.models.sparse.adjoint_kernels import adjoint

    assert isinstance(atoms, SparseAtoms)
    batch, norms = len(codes), atoms.dictionary.square().sum((1, 2, 3))
    scales = (norms + stopping.damping).clamp_min(torch.finfo(norms.dtype).tiny).rsqrt()
    pulled = torch.empty_like(canvas, memory_format=torch.contiguous_format)
    residual = torch.zeros(batch, dtype=torch.float64)
    iterations = torch.zeros(batch, dtype=torch.int64)
    rows = atoms.rows(scales)
    parts = codes.new_zeros(len(task_ranges(batch)), len(rows) if learns else 0)
    flat = parts.numpy()
    work = partial(
        adjoint,
        codes.contiguous().numpy(),
        gradient.contiguous().flatten(1).numpy(),
        canvas.contiguous().flatten(1).numpy(),
        rows,
        scales.numpy(),
        _places(atoms, codes),
        canvas.shape[1],
        stopping.tolerance,
        stopping.max_iterations,
        pulled.flatten(1).numpy(),
        residual.numpy(),
        iterations.numpy(),
    )
    over_samples(batch, lambda task, first, last: work(flat[task], first, last))
    return pulled, atoms.unfolded(parts.sum(0)) if learns else None, GradientReport.over(iterations, residual)


def _positions(canvas: Tensor, atoms: Atoms) -> tuple[int, int]:
    """Rows and columns of codes on this canvas."""
    k = atoms.dictionary.shape[-1]
    height, width = ((edge - k) // atoms.stride + 1 for edge in canvas.shape[-2:])
    return height, width


def _rows(gram: Tensor) -> Array:
    """`gram_kernel` with the second atom last: what one coefficient does, row by row, flat."""
    return gram.permute(0, 2, 3, 1).flatten().numpy()


def _squared_norms(gram: Tensor) -> Tensor:
    """⟨atom, atom⟩, (F,)."""
    reach = gram.shape[-1] // 2
    return gram[:, :, reach, reach].diagonal()
