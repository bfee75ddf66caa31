"""The gradient of a solution, from the solution alone: no iteration of the solver is remembered.

With S the active set of a solution R, the optimality conditions on S read Ω_Sᵀ(X − Ω_S R_S) = λ. They stay true
when X or Ω moves a little, which determines how R moves. For an incoming gradient g on S, let v solve
(Ω_Sᵀ Ω_S) v = g; then dX = Ω_S v and dΩ = corr(v, X − R ⊛ Ω) − corr(R, Ω_S v).
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
        iterations: of conjugate gradients.
        relative_residual: the largest over samples, as a share of ‖g‖.
    """

    iterations: int
    relative_residual: float


@dataclass(frozen=True)
class GradientStopping:
    """When a sample's system is solved: its residual as a share of ‖g‖, or so many iterations.

    A system that is nearly singular (two atoms that look alike, both active) is left at ``max_iterations``:
    conjugate gradients stopped early are a regularised solution (Hanke 1995).
    """

    tolerance: float
    max_iterations: int


def solve_active(
    atoms: Atoms, active: Tensor, gradient: Tensor, stopping: GradientStopping
) -> tuple[Tensor, GradientReport]:
    """Solve (Ω_Sᵀ Ω_S) v = g per sample by conjugate gradients.

    Args:
        atoms: Ω.
        active: the active sets S as zeros and ones, (B, F, h, w).
        gradient: g on S, zero elsewhere, (B, F, h, w).
        stopping: when a sample is done.

    Returns:
        v, zero outside S, and how well it solves the system.
    """
    tiny = torch.finfo(gradient.dtype).tiny
    solution = torch.zeros_like(gradient)
    residual, direction = gradient, gradient
    first = energy = _inner(gradient, gradient)
    going = energy > 0
    iteration = 0
    while iteration < stopping.max_iterations and bool(going.any()):
        iteration += 1
        image = atoms.analyse(atoms.synthesise(direction)).mul_(active)
        step = torch.where(going, energy / _inner(direction, image).clamp_min(tiny), 0)
        solution = torch.addcmul(solution, step, direction)
        residual = torch.addcmul(residual, -step, image)
        previous, energy = energy, _inner(residual, residual)
        direction = torch.addcmul(residual, energy / previous.clamp_min(tiny), direction)
        going = going & (energy > stopping.tolerance**2 * first)
    worst = (energy / first.clamp_min(tiny)).sqrt().amax()
    return solution, GradientReport(iteration, float(worst))


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ per sample, (B, 1, 1, 1)."""
    return (a * b).sum((1, 2, 3), keepdim=True)


class _Implicit(torch.autograd.Function):
    """A solution R, handed in as a constant, as a function of the canvas X and the dictionary Ω."""

    @staticmethod
    def forward(
        ctx: Any,
        canvas: Tensor,
        dictionary: Tensor,
        codes: Tensor,
        stride: int,
        stopping: GradientStopping,
        record: Callable[[GradientReport], None],
    ) -> Tensor:
        ctx.save_for_backward(canvas, dictionary, codes)
        ctx.stride, ctx.stopping, ctx.record = stride, stopping, record
        return codes.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        canvas, dictionary, codes = ctx.saved_tensors
        atoms = Atoms(dictionary, ctx.stride)
        active = (codes > 0).to(codes.dtype)
        dual, report = solve_active(atoms, active, gradient * active, ctx.stopping)
        ctx.record(report)
        canvas_gradient = atoms.synthesise(dual)
        dictionary_gradient = None
        if ctx.needs_input_grad[1]:
            residual = canvas - atoms.synthesise(codes)
            dictionary_gradient = atoms.correlate(dual, residual) - atoms.correlate(codes, canvas_gradient)
        return canvas_gradient, dictionary_gradient, None, None, None, None


def differentiable(
    codes: Tensor,
    canvas: Tensor,
    dictionary: Tensor,
    *,
    stride: int,
    stopping: GradientStopping,
    record: Callable[[GradientReport], None],
) -> Tensor:
    """The same codes, with the implicit gradient in ``canvas`` and ``dictionary``.

    Args:
        codes: a solution for ``canvas``, without history, (B, F, h, w).
        canvas: X, (B, C, H', W').
        dictionary: Ω, (F, C, k, k).
        stride: pixels between neighbouring code positions.
        stopping: how exactly the backward pass solves its linear system.
        record: takes the backward pass's report.
    """
    attached: Tensor = _Implicit.apply(canvas, dictionary, codes, stride, stopping, record)  # type: ignore[no-untyped-call]
    return attached
