"""Gaussian noise on the activation of the trained network, the baseline "Gaussian" of Dibbo et al. 2024 (arXiv
2403.14772): N(0, 0.5) injected "after training".

The paper's public code (7a33086) departs from its text twice: it multiplies by a constant instead of adding a draw, and
it does so in training mode only, so that the attacked network has no noise at all. Here the text is followed.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, TapEvidence
from splitfed.metrics.findings import Finding, gaussian_scale, noise_scale_within
from splitfed.options import Options
from splitfed.types import Channel, Phase


class GaussianOptions(Options):
    """Options of `Gaussian`."""

    sigma: float = Field(default=0.5, gt=0)
    """σ of N(0, σ²), in units of the activation: the paper's N(0, 0.5), its second number read as σ."""


class Gaussian(Defense):
    """Adds N(0, σ²) to each activation at inference, and nothing in training."""

    name = "gaussian"
    about = "Gaussian noise on every activation, after training only"
    source = "Dibbo et al. 2024, arXiv 2403.14772 (baseline)"
    randomized = True
    Options = GaussianOptions
    options: GaussianOptions

    def protect(self, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:
        if phase is Phase.TRAIN:
            return output
        return output + self.options.sigma * torch.randn(output.shape, generator=generator)

    def channel(self, output: Tensor) -> Channel:
        return Channel("gaussian", output, torch.full_like(output, self.options.sigma))

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """The noise measured at the tap has the stated scale, within 5 %."""
        measured = gaussian_scale(evidence.tapped - evidence.clean)
        return [noise_scale_within(measured, self.options.sigma)]
