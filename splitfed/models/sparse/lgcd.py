"""The fast path on the CPU: locally greedy coordinate descent, and maps and gradients that touch active codes only.

Moreau, Oudre and Vayatis 2018 (arXiv 1705.10087): one coefficient at a time goes to its own minimum, in each
neighbourhood the one that moves furthest; what it explains is taken out of the correlations that its atom touches,
(2k − 1)²·F of them. With few active coefficients that is far less than one convolution over all of them per
iteration. The loops are compiled by numba.
"""

from __future__ import annotations

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

    def synthesise(self, codes: Tensor) -> Tensor:
        from splitfed.models.sparse.image_kernels import synthesise

        canvases = self.canvases(codes)
        work = partial(synthesise, codes.contiguous().numpy(), self.rows(), *self.steps(codes), canvases.numpy())
        over_samples(len(codes), lambda _, first, last: work(first, last))
        return self.unpacked(canvases, codes)

    def correlate(self, codes: Tensor, canvas: Tensor) -> Tensor:
        from splitfed.models.sparse.image_kernels import correlate

        features, channels, k, _ = self.dictionary.shape
        canvases = self.canvases(codes)
        self.unpacked(canvases, codes).copy_(canvas)
        work = partial(correlate, codes.contiguous().numpy(), canvases.numpy(), *self.steps(codes))
        parts = codes.new_zeros(len(task_ranges(len(codes))), len(self.rows()))
        flat = parts.numpy()
        over_samples(len(codes), lambda task, first, last: work(flat[task], first, last))
        return (
            parts.sum(0).view(features, k, -1)[..., : k * channels].view(features, k, k, channels).permute(0, 3, 1, 2)
        )

    def rows(self, scales: Tensor | None = None) -> Array:
        """The atoms, each times its scale (F,), as the compiled loops want them; see `image_kernels`."""
        atoms = self.dictionary if scales is None else self.dictionary * scales.view(-1, 1, 1, 1)
        rows = atoms.permute(0, 2, 3, 1).flatten(2)
        return F.pad(rows, (0, -rows.shape[-1] % LANES)).flatten().numpy()

    def steps(self, codes: Tensor) -> tuple[int, int, int, int]:
        """Numbers between pixels and code positions below each other, and beside each other; pixels per edge."""
        channels, k = self.dictionary.shape[1:3]
        row = (self.stride * (codes.shape[-1] - 1) + k) * channels
        return row, self.stride * row, self.stride * channels, k

    def canvases(self, codes: Tensor) -> Tensor:
        """Zeros to hold a canvas for each sample, as the compiled loops want it."""
        row, _, _, k = self.steps(codes)
        return codes.new_zeros(len(codes), row * (self.stride * (codes.shape[-2] - 1) + k) + LANES)

    def unpacked(self, canvases: Tensor, codes: Tensor) -> Tensor:
        """The (B, C, H', W') in such memory."""
        channels, row = self.dictionary.shape[1], self.steps(codes)[0]
        pixels = canvases[:, :-LANES].view(len(codes), -1, row // channels, channels)
        return pixels.permute(0, 3, 1, 2)


def lgcd(canvas: Tensor, atoms: Atoms, sparsity: float, stopping: Stopping, start: Tensor | None = None) -> Solution:
    """Minimise ½‖X − R ⊛ Ω‖² + λ‖R‖₁ over R ≥ 0, each sample for itself; arguments as in `fista`.

    Sweeps over the image take every step above a threshold, which is halved once none is left; the gap is looked
    at each time. ``Solution.iterations`` counts sweeps.
    """
    from splitfed.models.sparse.descent_kernels import descend

    drive = _analyse(canvas, atoms)
    batch, features, height, width = drive.shape
    gram = gram_kernel(atoms.dictionary, atoms.stride)
    norms = _squared_norms(gram)
    spare = -features % LANES
    inverse_norms = F.pad(torch.where(norms > 0, 1 / norms, 0), (0, spare))
    rows = drive.permute(0, 2, 3, 1)
    rows = F.pad(rows, (0, spare)) if spare else rows.contiguous()  # padding by nothing would copy all the same
    codes = torch.zeros_like(rows)
    if start is not None:
        codes[..., :features] = start.permute(0, 2, 3, 1)
    gap = torch.empty(len(canvas), dtype=torch.float64)
    sweeps = torch.empty(len(canvas), dtype=torch.int64)
    steps = torch.empty(len(canvas), dtype=torch.int64)
    energy = canvas.flatten(1).square().sum(1, dtype=torch.float64)
    work = partial(
        descend,
        rows.flatten(1).numpy(),
        energy.numpy(),
        _rows(F.pad(gram, (0, 0, 0, 0, 0, spare))),
        inverse_norms.numpy(),
        height,
        width,
        gram.shape[-1] // 2,
        rows.numpy().dtype.type(sparsity),
        stopping.tolerance,
        stopping.max_iterations,
        codes.flatten(1).numpy(),
        gap.numpy(),
        sweeps.numpy(),
        steps.numpy(),
    )
    over_samples(batch, lambda _, first, last: work(first, last))
    multiply_adds = atoms.dictionary.numel() * height * width + steps * gram[0].numel()
    return Solution(codes[..., :features].permute(0, 3, 1, 2), gap, sweeps, multiply_adds)


def _analyse(canvas: Tensor, atoms: Atoms) -> Tensor:
    """`Atoms.analyse` with channels last in memory: as the compiled loops want it, and several times as fast."""
    last = torch.channels_last
    dictionary = atoms.dictionary.contiguous(memory_format=last)
    return F.conv2d(canvas.contiguous(memory_format=last), dictionary, stride=atoms.stride)


def solve_sparse(
    atoms: Atoms, codes: Tensor, gradient: Tensor, stopping: GradientStopping
) -> tuple[Tensor, Tensor, GradientReport]:
    """`gradient.solve_active`, on the active set only.

    Preconditioned by symmetric Gauss-Seidel, so that the residual is measured in that norm.
    """
    from splitfed.models.sparse.adjoint_kernels import adjoint

    assert isinstance(atoms, SparseAtoms)
    norms = atoms.dictionary.square().sum((1, 2, 3))
    scales = (norms + stopping.damping).clamp_min(torch.finfo(norms.dtype).tiny).rsqrt()
    solution, images = torch.zeros_like(codes, memory_format=torch.contiguous_format), atoms.canvases(codes)
    residual = torch.zeros(len(codes), dtype=torch.float64)
    iterations = torch.zeros(len(codes), dtype=torch.int64)
    work = partial(
        adjoint,
        codes.contiguous().numpy(),
        gradient.flatten(1).numpy(),
        atoms.rows(scales),
        scales.numpy(),
        *atoms.steps(codes),
        stopping.tolerance,
        stopping.max_iterations,
        solution.flatten(1).numpy(),
        images.numpy(),
        residual.numpy(),
        iterations.numpy(),
    )
    over_samples(len(codes), lambda _, first, last: work(first, last))
    return solution, atoms.unpacked(images, codes), GradientReport.over(iterations, residual)


def _rows(gram: Tensor) -> Array:
    """`gram_kernel` with the second atom last: what one coefficient does, row by row, flat."""
    return gram.permute(0, 2, 3, 1).flatten().numpy()


def _squared_norms(gram: Tensor) -> Tensor:
    """⟨atom, atom⟩, (F,)."""
    reach = gram.shape[-1] // 2
    return gram[:, :, reach, reach].diagonal()
