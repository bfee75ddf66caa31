"""What a solver is asked for and what it returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.models.sparse.problem import Atoms, Certificate, certify


@dataclass(frozen=True)
class Stopping:
    """When a sample is solved.

    Attributes:
        tolerance: the relative duality gap (see `Certificate`) at which to stop.
        max_iterations: the most iterations spent on a sample.
        check_every: iterations between two looks at the gap.
    """

    tolerance: float
    max_iterations: int
    check_every: int


@dataclass(frozen=True)
class Solution:
    """Codes and their certificate.

    Attributes:
        codes: (B, F, h, w), ≥ 0.
        relative_gap: per sample, (B,), float64.
        iterations: spent on each sample, (B,), int64.
        active: how many codes of each sample are not zero, (B,), int64.
        multiply_adds: spent on each sample, (B,), int64: those of convolutions, or of what stands in for them.
    """

    codes: Tensor
    relative_gap: Tensor
    iterations: Tensor
    active: Tensor
    multiply_adds: Tensor


class Trace:
    """Collects samples as they are solved, so that a solver goes on with the others only.

    A sample's code is what it was at the look that found it solved; how long its neighbors in the batch take
    changes nothing about it.
    """

    def __init__(self, canvas: Tensor, atoms: Atoms, l1_weight: float, stopping: Stopping) -> None:
        self._canvas = canvas
        self._atoms = atoms
        self._l1_weight = l1_weight
        self._stopping = stopping
        self._open = torch.arange(len(canvas), device=canvas.device)
        self._codes: Tensor | None = None
        self._gap = torch.zeros(len(canvas), dtype=torch.float64, device=canvas.device)
        self._iterations = torch.zeros(len(canvas), dtype=torch.int64, device=canvas.device)

    def due(self, iteration: int) -> bool:
        """Whether this iteration ends with a look at the gap."""
        return iteration % self._stopping.check_every == 0 or iteration == self._stopping.max_iterations

    def settle(self, iteration: int, canvas: Tensor, codes: Tensor) -> Tensor:
        """Take in the open samples' canvases and codes; the positions, among the open, of those still unsolved."""
        certificate = self._certify(canvas, codes)
        last = iteration == self._stopping.max_iterations
        solved = (certificate.relative_gap <= self._stopping.tolerance) | last
        done = self._open[solved]
        if self._codes is None:
            self._codes = codes.new_zeros(len(self._canvas), *codes.shape[1:])
        self._codes[done] = codes[solved]
        self._gap[done] = certificate.relative_gap[solved]
        self._iterations[done] = iteration
        self._open = self._open[~solved]
        return (~solved).nonzero().squeeze(1)

    def solution(self, multiply_adds_per_position: int) -> Solution:
        """All samples, once none is open; the cost is that of one iteration, for each position of an atom."""
        assert self._codes is not None
        multiply_adds = self._iterations * multiply_adds_per_position * math.prod(self._codes.shape[-2:])
        active = torch.count_nonzero(self._codes.flatten(1), dim=1)
        return Solution(self._codes, self._gap, self._iterations, active, multiply_adds)

    def _certify(self, canvas: Tensor, codes: Tensor) -> Certificate:
        residual = canvas - self._atoms.synthesize(codes)
        return certify(canvas, codes, residual, self._atoms.analyze(residual), self._l1_weight)
