"""The sparse coding layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitfed.models.sparse.compiled import available
from splitfed.models.sparse.dictionary import dictionary_step, random_dictionary, unit_norm
from splitfed.models.sparse.fista import fista
from splitfed.models.sparse.gradient import (
    Backward,
    GradientReport,
    GradientStopping,
    differentiable,
    pull_back,
)
from splitfed.models.sparse.lca import lca
from splitfed.models.sparse.lgcd import SparseAtoms, lgcd
from splitfed.models.sparse.lgcd import pull_back as pull_back_sparse
from splitfed.models.sparse.problem import Atoms, Geometry, certify
from splitfed.models.sparse.solution import Solution, Stopping
from splitfed.models.sparse.spectrum import lipschitz_bound

SOLVERS = ("auto", "lgcd", "fista", "lca")
_CHECK_EVERY = {"lgcd": 1, "fista": 5, "lca": 50}
_MAX_ITERATIONS = {"lgcd": 2_000, "fista": 2_000, "lca": 20_000}
_FLAT = 1e-5
"""Standard deviation below which an image counts as constant; gray levels of 8 bits are 4e-3 apart."""


@dataclass(frozen=True)
class SolveReport:
    """How the last forward pass went; before the first, what is true of zero codes.

    Attributes:
        solver: which one it was.
        iterations: the most that any sample took; of ``lgcd``, sweeps.
        relative_gap: the largest over samples; see `splitfed.models.sparse.problem.Certificate`.
        density: share of codes that are not zero.
        converged: whether every sample's gap is within the tolerance.
    """

    solver: str
    iterations: int
    relative_gap: float
    density: float
    converged: bool


class SparseCodingLayer(nn.Module):
    """Codes R ≥ 0 that minimize ½‖X − R ⊛ Ω‖² + λ‖R‖₁ (arXiv 2403.14772, eq. 1), per sample.

    The codes are differentiable in the input and the dictionary by the implicit gradient of the minimum, which
    needs no memory of the iterations. Solved in the input's precision, half precisions in float32.

    Args:
        in_channels: C.
        out_channels: F, the number of atoms.
        kernel_size: k, pixels per edge of an atom.
        stride: pixels between neighboring positions of an atom.
        l1_weight: λ ≥ 0 in eq. 1, on the scale of standardized images.
        solver: ``lgcd`` (compiled, CPU only), ``fista``, or the reference ``lca``; all reach the same minimum.
            ``auto`` is ``lgcd`` where numba is installed and the input lies in main memory,
            else ``fista``.
        tolerance: the relative duality gap at which a sample is solved: how far its objective may be from the
            minimum, as a share of the zero code's objective.
        max_iterations: the most spent on a sample; by default 2,000, and 20,000 for ``lca``.
        gradient_tolerance: the residual of the backward pass's linear system at which a sample is done, as a share
            of its right side.
        max_gradient_iterations: the most spent on that system.
        damping: ε ≥ 0 in that system; see `splitfed.models.sparse.gradient.GradientStopping`.
        standardize: give each sample mean 0 and variance 1 first. A constant image becomes zeros.
        generator: draws the first dictionary, on the CPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 5,
        stride: int = 1,
        l1_weight: float = 0.5,
        solver: str = "auto",
        tolerance: float = 3e-2,
        max_iterations: int | None = None,
        gradient_tolerance: float = 0.1,
        max_gradient_iterations: int = 50,
        damping: float = 1e-3,
        standardize: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if solver not in SOLVERS:
            raise ValueError(f"solver is {solver!r}; want one of {', '.join(SOLVERS)}")
        if solver == "lgcd" and not available():
            raise ValueError("solver 'lgcd' needs numba: pip install numba, or take solver 'fista'")
        if l1_weight < 0:
            raise ValueError(f"l1_weight is {l1_weight}; want at least 0")
        self.geometry = Geometry(kernel_size, stride)
        self.l1_weight = l1_weight
        self.solver = solver
        self.standardize = standardize
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.gradient_stopping = GradientStopping(gradient_tolerance, max_gradient_iterations, damping)
        self.dictionary = nn.Parameter(random_dictionary(out_channels, in_channels, kernel_size, generator))
        self.report = SolveReport(solver, iterations=0, relative_gap=1.0, density=0.0, converged=False)
        self.gradient_report: GradientReport | None = None
        self._bound: tuple[Tensor, float] | None = None

    def extra_repr(self) -> str:
        """The options, for `print`."""
        out_channels, in_channels, *_ = self.dictionary.shape
        return (
            f"{in_channels}, {out_channels}, kernel_size={self.geometry.kernel_size}, stride={self.geometry.stride}, "
            f"l1_weight={self.l1_weight}, solver={self.solver!r}, tolerance={self.tolerance}"
        )

    def forward(self, x: Tensor, *, start: Tensor | None = None) -> Tensor:
        """Codes (B, F, ceil(H/stride), ceil(W/stride)), ≥ 0, of images (B, C, H, W); `report` tells how it went.

        ``start`` are codes to begin with, such as those that the same images had under a slightly different
        dictionary: the result is as exact, and found sooner.
        """
        with torch.autocast(x.device.type, enabled=False):
            canvas = self.prepare(x)
            dictionary = self.dictionary.to(canvas.dtype)
            codes = self._solve(canvas.detach(), dictionary.detach(), start).codes
            if torch.is_grad_enabled() and (canvas.requires_grad or dictionary.requires_grad):
                codes = differentiable(codes, canvas, dictionary, self._backward(canvas))
            return codes.to(x.dtype)

    def prepare(self, x: Tensor) -> Tensor:
        """X of eq. 1 from images (B, C, H, W): standardized, and on their canvas (see `problem`)."""
        x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        return self.geometry.canvas(_standardize(x) if self.standardize else x)

    @torch.no_grad()
    def solve(self, x: Tensor, *, start: Tensor | None = None) -> Solution:
        """What `forward` finds, without a gradient and with each sample's own gap, iterations and cost."""
        canvas = self.prepare(x)
        return self._solve(canvas, self.dictionary.to(canvas.dtype), start)

    @torch.no_grad()
    def objective(self, x: Tensor, *, dictionary: Tensor | None = None) -> Tensor:
        """Eq. 1 at its solution for each of the images, (B,), float64; with other atoms (F, C, k, k) if given.

        It is within `tolerance` of the minimum, as a share of the zero code's objective, ½‖X‖².
        """
        canvas = self.prepare(x)
        atoms = Atoms((self.dictionary if dictionary is None else dictionary).to(canvas.dtype), self.geometry.stride)
        codes = self._solve(canvas, atoms.dictionary, None).codes
        residual = canvas - atoms.synthesize(codes)
        return certify(canvas, codes, residual, atoms.analyze(residual), self.l1_weight).objective

    @torch.no_grad()
    def update_dictionary(self, x: Tensor, codes: Tensor, *, rate: float = 0.1) -> None:
        """Move the atoms toward what they failed to rebuild of ``x``, then renormalize them.

        Args:
            x: the images (B, C, H, W) that were coded.
            codes: their codes, as `forward` returned them.
            rate: 0 leaves the atoms, 1 moves them about as far as their best fit; see `dictionary_step`.
        """
        canvas = self.prepare(x)
        atoms = self._atoms(canvas)(self.dictionary.to(canvas.dtype), self.geometry.stride)
        step = dictionary_step(atoms, canvas, codes.to(canvas.dtype))
        self.dictionary.copy_(unit_norm(atoms.dictionary + rate * step))

    @torch.no_grad()
    def normalize_(self) -> None:
        """Scale each atom back to norm 1, after an average or an optimizer moved it."""
        self.dictionary.copy_(unit_norm(self.dictionary))

    def _solver_for(self, canvas: Tensor) -> str:
        """The solver that ``auto`` stands for."""
        if self.solver != "auto":
            return self.solver
        return "lgcd" if canvas.device.type == "cpu" and available() else "fista"

    def _atoms(self, canvas: Tensor) -> type[Atoms]:
        return SparseAtoms if self._solver_for(canvas) == "lgcd" else Atoms

    @torch.no_grad()
    def _solve(self, canvas: Tensor, dictionary: Tensor, start: Tensor | None) -> Solution:
        solver = self._solver_for(canvas)
        start = None if start is None else start.detach().to(canvas.dtype)
        stopping = Stopping(self.tolerance, self.max_iterations or _MAX_ITERATIONS[solver], _CHECK_EVERY[solver])
        atoms = Atoms(dictionary, self.geometry.stride)
        if solver == "lgcd":
            solution = lgcd(canvas, atoms, self.l1_weight, stopping, start)
        elif solver == "fista":
            solution = fista(canvas, atoms, self.l1_weight, self._lipschitz_bound(dictionary), stopping, start)
        else:
            solution = lca(canvas, atoms, self.l1_weight, self._lipschitz_bound(dictionary), stopping, start)
        self.report = self._report_on(solver, solution)
        return solution

    def _lipschitz_bound(self, dictionary: Tensor) -> float:
        """The bound of ‖Ω‖², computed anew only when the dictionary has changed."""
        if self._bound is None or not torch.equal(self._bound[0], dictionary):
            self._bound = (dictionary.clone(), lipschitz_bound(dictionary, self.geometry.stride))
        return self._bound[1]

    def _report_on(self, solver: str, solution: Solution) -> SolveReport:
        codes, gaps = solution.codes, solution.relative_gap
        gap = float(gaps.max()) if len(codes) else 0.0
        iterations = int(solution.iterations.max()) if len(codes) else 0
        density = int(solution.active.sum()) / max(codes.numel(), 1)
        return SolveReport(solver, iterations, gap, density, gap <= self.tolerance)

    def _backward(self, canvas: Tensor) -> Backward:
        way = pull_back_sparse if self._solver_for(canvas) == "lgcd" else pull_back
        return Backward(self._atoms(canvas), way, self.geometry.stride, self.gradient_stopping, self._record)

    def _record(self, report: GradientReport) -> None:
        self.gradient_report = report


def _standardize(x: Tensor) -> Tensor:
    """Each sample with mean 0 and variance 1; one whose pixels are all alike becomes zeros."""
    centered = x - x.mean((1, 2, 3), keepdim=True)
    return centered / (centered.square().mean((1, 2, 3), keepdim=True) + _FLAT**2).sqrt()
