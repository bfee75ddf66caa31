"""The reference solver: the locally competitive algorithm (Rozell et al. 2008; arXiv 2403.14772, eq. 2).

Each neuron's membrane potential P is driven by Ψ, how well its atom fits the image, and inhibited by active
neurons whose atoms overlap with its own: τ dP/dt = Ψ − P − R ∗ G with R = relu(P − λ) and G = Ω ∗ Ω − I. The
steady state is the minimum of eq. 1. Its lateral weights reach (2k − 1)² positions, which makes it far slower than
FISTA; it is here to check against.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from splitfed.models.sparse.problem import Atoms
from splitfed.models.sparse.solution import Solution, Stopping, Trace
from splitfed.models.sparse.spectrum import gram_kernel

TIME_CONSTANT = 100.0
"""τ in Euler steps, as in the paper's experiments."""


def lca(
    canvas: Tensor,
    atoms: Atoms,
    l1_weight: float,
    lipschitz: float,
    stopping: Stopping,
    start: Tensor | None = None,
) -> Solution:
    """Follow eq. 2 by Euler steps from rest, or from ``start``, until each sample is solved; arguments as in `fista`.

    Euler steps of 1/τ are stable while τ > ‖Ω‖²/2, so τ grows with ``lipschitz`` where 100 would be near that.
    """
    trace = Trace(canvas, atoms, l1_weight, stopping)
    rate = 1 / max(TIME_CONSTANT, 0.6 * lipschitz)
    lateral = gram_kernel(atoms.dictionary, atoms.stride)
    reach = lateral.shape[-1] // 2
    drive = atoms.analyze(canvas)
    codes = torch.zeros_like(drive) if start is None else start
    potential = torch.where(codes > 0, codes + l1_weight, 0)
    open_ = trace.settle(0, canvas, codes)
    canvas, drive, potential, codes = canvas[open_], drive[open_], potential[open_], codes[open_]
    iteration = 0
    while len(canvas):
        iteration += 1
        inhibition = F.conv2d(codes, lateral, padding=reach) - codes
        potential = potential + rate * (drive - potential - inhibition)
        codes = (potential - l1_weight).relu()
        if trace.due(iteration):
            open_ = trace.settle(iteration, canvas, codes)
            canvas, drive, potential, codes = canvas[open_], drive[open_], potential[open_], codes[open_]
    return trace.solution(lateral.numel())
