"""Laplace noise on the activation (Titcombe et al. 2021, "Practical defences against model inversion attacks for
split neural networks", arXiv 2104.05743)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, TapEvidence
from splitfed.metrics.findings import Finding, laplace_scale, noise_scale_within
from splitfed.options import Options
from splitfed.types import Channel, Phase


class LaplaceOptions(Options):
    """Options of `Laplace`."""

    scale: float = Field(default=0.5, gt=0)
    """b of Laplace(0, b), in units of the activation; 0.5 is the paper's setting."""


def laplace(shape: torch.Size, scale: float, generator: torch.Generator) -> Tensor:
    """Draws of Laplace(0, scale): the difference of two exponentials, finite for every draw."""
    plus = torch.empty(shape).exponential_(generator=generator)
    minus = torch.empty(shape).exponential_(generator=generator)
    return (plus - minus) * scale


class Laplace(Defense):
    """Adds Laplace(0, b) to each activation, in training and at inference."""

    name = "laplace"
    about = "Laplace noise on every activation, in training and at inference"
    source = "Titcombe et al. 2021, arXiv 2104.05743"
    randomized = True
    Options = LaplaceOptions
    options: LaplaceOptions

    def protect(self, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:  # noqa: ARG002
        return output + laplace(output.shape, self.options.scale, generator)

    def channel(self, output: Tensor, phase: Phase = Phase.AUDIT) -> Channel:  # noqa: ARG002
        return Channel("laplace", output, torch.full_like(output, self.options.scale))

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """The noise measured at the tap has the stated scale, within 5 %."""
        measured = laplace_scale(evidence.tapped - evidence.clean)
        return [noise_scale_within(measured, self.options.scale)]
