"""The plain solver, on any device: accelerated proximal gradient (FISTA, Beck and Teboulle 2009)."""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.models.sparse.problem import Atoms
from splitfed.models.sparse.solution import Solution, Stopping, Trace


def fista(
    canvas: Tensor,
    atoms: Atoms,
    l1_weight: float,
    lipschitz: float,
    stopping: Stopping,
    start: Tensor | None = None,
) -> Solution:
    """Minimize ½‖X − R ⊛ Ω‖² + λ‖R‖₁ over R ≥ 0, each sample for itself.

    The momentum of a sample starts anew when it points uphill (O'Donoghue and Candès 2015, gradient scheme).

    Args:
        canvas: X, (B, C, H', W').
        atoms: Ω.
        l1_weight: λ ≥ 0.
        lipschitz: an upper bound of ‖Ω‖².
        stopping: when a sample is solved.
        start: codes to begin with, (B, F, h, w), ≥ 0: zeros, or those of a nearby problem.
    """
    trace = Trace(canvas, atoms, l1_weight, stopping)
    codes = ahead = torch.zeros_like(atoms.analyze(canvas)) if start is None else start
    momentum = torch.ones(len(canvas), 1, 1, 1, dtype=canvas.dtype, device=canvas.device)
    open_ = trace.settle(0, canvas, codes)
    canvas, codes, ahead, momentum = canvas[open_], codes[open_], ahead[open_], momentum[open_]
    iteration = 0
    while len(canvas):
        iteration += 1
        correlation = atoms.analyze(canvas - atoms.synthesize(ahead))
        stepped = correlation.sub_(l1_weight).div_(lipschitz).add_(ahead).relu_()
        change = stepped - codes
        uphill = (ahead.sub_(stepped) * change).flatten(1).sum(1).view(-1, 1, 1, 1) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        grown = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ahead = torch.addcmul(stepped, (momentum - 1) / grown, change)
        codes, momentum = stepped, grown
        if trace.due(iteration):
            open_ = trace.settle(iteration, canvas, codes)
            canvas, codes, ahead, momentum = canvas[open_], codes[open_], ahead[open_], momentum[open_]
    return trace.solution(2 * atoms.dictionary.numel())
