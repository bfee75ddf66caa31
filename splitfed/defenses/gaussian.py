"""Gaussian noise on the activation, the baseline "Gaussian" of Dibbo et al. 2024 (arXiv 2403.14772): N(0, 0.5)
injected "after training".

What travels in training is then clean, and an attacker of the wire sees no noise in it: the scores of `gaussian` are
those of an attack on its training streams. With ``always`` the noise is there in training too, which costs accuracy.

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
    always: bool = False
    """Whether the noise acts in training too; the paper's acts after training only."""


class Gaussian(Defense):
    """Adds N(0, σ²) to each activation at inference; in training only with ``always``."""

    name = "gaussian"
    about = "Gaussian noise on every activation, after training only or always"
    source = "Dibbo et al. 2024, arXiv 2403.14772 (baseline)"
    randomized = True
    Options = GaussianOptions
    options: GaussianOptions

    def protect(self, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:
        if not self._acts(phase):
            return output
        return output + self.options.sigma * torch.randn(output.shape, generator=generator)

    def channel(self, output: Tensor, phase: Phase = Phase.AUDIT) -> Channel | None:
        if not self._acts(phase):
            return None
        return Channel("gaussian", output, torch.full_like(output, self.options.sigma))

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """The noise measured at the tap has the stated scale, within 5 %."""
        measured = gaussian_scale(evidence.tapped - evidence.clean)
        return [noise_scale_within(measured, self.options.sigma)]

    def _acts(self, phase: Phase) -> bool:
        return self.options.always or phase is not Phase.TRAIN
