"""The gradient of a solution, from the solution alone: no iteration of the solver is remembered.

With S the active set of a solution R, the optimality conditions on S read Ω_Sᵀ(X − Ω_S R_S) = λ. They stay true
when X or Ω moves a little, which determines how R moves. For an incoming gradient g on S, let v solve
(Ω_Sᵀ Ω_S) v = g; then dX = Ω_S v and dΩ = corr(v, X − R ⊛ Ω) − corr(R, Ω_S v). A little damping ε is added to the
system's diagonal; see `GradientStopping`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from splitfed.models.sparse.problem import Atoms


@dataclass(frozen=True)
class GradientReport:
    """How well a backward pass solved its linear system.

    Attributes:
        iterations: of conjugate gradients, the most that any sample took.
        relative_residual: the largest over samples, as a share of ‖g‖.
    """

    iterations: int
    relative_residual: float

    @classmethod
    def over(cls, iterations: Tensor, residuals: Tensor) -> GradientReport:
        """The worst of all samples, given per sample."""
        if not len(iterations):
            return cls(0, 0.0)
        return cls(int(iterations.max()), float(residuals.max()))


@dataclass(frozen=True)
class GradientStopping:
    """Which linear system a backward pass solves, and how exactly.

    Attributes:
        tolerance: the residual at which a sample is done, as a share of ‖g‖.
        max_iterations: the most that are spent.
        damping: ε ≥ 0. The gradient is that of the minimum of eq. 1 plus (ε/2)‖R‖². Without it, two active atoms
            that look alike have differences that answer to the smallest change of the image, and gradients grow
            without bound.
    """

    tolerance: float
    max_iterations: int
    damping: float


def solve_active(
    atoms: Atoms, codes: Tensor, gradient: Tensor, stopping: GradientStopping
) -> tuple[Tensor, Tensor, GradientReport]:
    """Solve (Ω_Sᵀ Ω_S + ε) v = g per sample by conjugate gradients.

    Args:
        atoms: Ω.
        codes: whose active sets S are meant, (B, F, h, w).
        gradient: g, of which only what lies on S counts, (B, F, h, w).
        stopping: when a sample is done.

    Returns:
        v, zero outside S; Ω_S v; and how well v solves the system.
    """
    tiny = torch.finfo(gradient.dtype).tiny
    active = (codes > 0).to(gradient.dtype)
    gradient = gradient * active
    solution = torch.zeros_like(gradient)
    residual, direction = gradient, gradient
    first = energy = _inner(gradient, gradient)
    going = energy > 0
    iterations = torch.zeros(len(gradient), dtype=torch.int64, device=gradient.device)
    iteration = 0
    while iteration < stopping.max_iterations and bool(going.any()):
        iteration += 1
        iterations += going.flatten()
        image = atoms.analyze(atoms.synthesize(direction)).mul_(active).add_(direction, alpha=stopping.damping)
        step = torch.where(going, energy / _inner(direction, image).clamp_min(tiny), 0)
        solution = torch.addcmul(solution, step, direction)
        residual = torch.addcmul(residual, -step, image)
        previous, energy = energy, _inner(residual, residual)
        direction = torch.addcmul(residual, energy / previous.clamp_min(tiny), direction)
        going = going & (energy > stopping.tolerance**2 * first)
    report = GradientReport.over(iterations, (energy / first.clamp_min(tiny)).sqrt())
    return solution, atoms.synthesize(solution), report


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ per sample, (B, 1, 1, 1)."""
    return (a * b).sum((1, 2, 3), keepdim=True)


def pull_back(
    atoms: Atoms, canvas: Tensor, codes: Tensor, gradient: Tensor, stopping: GradientStopping, *, learns: bool = True
) -> tuple[Tensor, Tensor | None, GradientReport]:
    """The gradient of a solution: dX, dΩ, and how well the linear system was solved.

    Args:
        atoms: Ω.
        canvas: X, (B, C, H', W').
        codes: R, a solution for it, (B, F, h, w).
        gradient: g, of which only what lies on the active sets counts, (B, F, h, w).
        stopping: when a sample is done.
        learns: whether dΩ is wanted; it is None otherwise.
    """
    adjoint, image, report = solve_active(atoms, codes, gradient, stopping)
    if not learns:
        return image, None, report
    residual = canvas - atoms.synthesize(codes)
    return image, atoms.correlate(adjoint, residual) - atoms.correlate(codes, image), report


PullBack = Callable[..., tuple[Tensor, Tensor | None, GradientReport]]


@dataclass(frozen=True)
class Backward:
    """How the backward pass is done.

    Attributes:
        atoms: makes the maps of a dictionary and a stride.
        pull_back: the function of this name or an equal of it.
        stride: pixels between neighboring code positions.
        stopping: how exactly the linear system is solved.
        record: takes the report.
    """

    atoms: Callable[[Tensor, int], Atoms]
    pull_back: PullBack
    stride: int
    stopping: GradientStopping
    record: Callable[[GradientReport], None]


class _Implicit(torch.autograd.Function):
    """A solution R, handed in as a constant, as a function of the canvas X and the dictionary Ω."""

    @staticmethod
    def forward(ctx: Any, canvas: Tensor, dictionary: Tensor, solution: tuple[Tensor], backward: Backward) -> Tensor:
        (codes,) = solution  # not an argument by itself: it would have to be copied to become a result
        ctx.save_for_backward(canvas, dictionary, codes)
        ctx.how = backward
        return codes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        canvas, dictionary, codes = ctx.saved_tensors
        how: Backward = ctx.how
        atoms = how.atoms(dictionary, how.stride)
        image, dictionary_gradient, report = how.pull_back(
            atoms, canvas, codes, gradient, how.stopping, learns=ctx.needs_input_grad[1]
        )
        how.record(report)
        return image, dictionary_gradient, None, None


def differentiable(codes: Tensor, canvas: Tensor, dictionary: Tensor, backward: Backward) -> Tensor:
    """The same codes, with the implicit gradient in ``canvas`` and ``dictionary``.

    Args:
        codes: a solution for ``canvas``, without history, (B, F, h, w).
        canvas: X, (B, C, H', W').
        dictionary: Ω, (F, C, k, k).
        backward: how the backward pass is done.
    """
    attached: Tensor = _Implicit.apply(canvas, dictionary, (codes,), backward)  # type: ignore[no-untyped-call]
    return attached
