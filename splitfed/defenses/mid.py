"""Mutual information regularization (MID): a variational information bottleneck at the cut (Wang, Zhang, Jia 2021,
"Improving Robustness to Model Inversion Attacks via Mutual Information Regularization", AAAI, arXiv 2009.05241; the
bottleneck is that of Alemi et al. 2017, arXiv 1612.00410).

The client sends z = μ + σ·ε with ε ~ N(0, I) and adds β·KL(N(μ, σ²) ‖ N(0, I)) to its loss. The mean divergence bounds
from above what z tells of the image, I(x; z).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, Figures, TapEvidence, TrainingBatch
from splitfed.metrics.findings import Finding, gaussian_scale, noise_scale_within, regularizer_acts
from splitfed.models.bottleneck_fronts import GaussianBottleneckFront
from splitfed.models.front import FrontSpec, PlainFront, initialize
from splitfed.options import Options
from splitfed.types import Channel, Phase


class InformationBottleneckOptions(Options):
    """Options of `InformationBottleneck`."""

    beta: float = Field(default=0.003, gt=0)
    """β, the weight of the divergence, per nat; 0.003 is the value in the authors' code."""
    layers: Literal["added", "same"] = "added"
    """Whether the bottleneck is a linear layer behind the front's own, which has one more than other defenses' then, or
    stands in place of the front's last one."""


class InformationBottleneck(Defense):
    """Sends a draw of a Gaussian whose mean and variance the front computes, in training and at inference.

    The layer that computes them stands behind the last of the front's linear layers, or in its place, wherever the cut
    is.
    """

    name = "mid"
    about = "variational information bottleneck: a noisy code that is taught to say little"
    source = "Wang et al. 2021, arXiv 2009.05241"
    randomized = True
    Options = InformationBottleneckOptions
    options: InformationBottleneckOptions

    def build_front(self, spec: FrontSpec, generator: torch.Generator) -> GaussianBottleneckFront:
        """A plain front that gives μ and log σ² side by side, (B, 2·width)."""
        plain = PlainFront(spec.shape, spec.width, spec.hidden_layers)
        front = GaussianBottleneckFront(plain, spec.width, added=self.options.layers == "added")
        initialize(front, generator)
        return front

    def protect(self, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:  # noqa: ARG002
        """z = μ + σ·ε: (B, 2·width) -> (B, width)."""
        mean, log_variance = output.chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator)
        return mean + (log_variance / 2).exp() * noise

    def regularizer(self, batch: TrainingBatch) -> Tensor:
        return self.options.beta * divergence(batch.output)

    def expected(self, output: Tensor) -> Tensor:
        """μ."""
        return output.chunk(2, dim=1)[0]

    def channel(self, output: Tensor) -> Channel:
        mean, log_variance = output.chunk(2, dim=1)
        return Channel("gaussian", mean, (log_variance / 2).exp())

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """The term moved every front, and (z − μ) / σ at the tap is standard noise, within 5 %."""
        mean, log_variance = evidence.clean.chunk(2, dim=1)
        standard = (evidence.tapped - mean) / (log_variance / 2).exp()
        return [regularizer_acts(evidence.measures), noise_scale_within(gaussian_scale(standard), 1.0)]

    def figures(self, evidence: TapEvidence) -> Figures:
        """What an activation tells of its image at most, nats: the mean divergence over the tapped images."""
        return {"information_bound_nats": float(divergence(evidence.clean))}


def divergence(output: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)) in nats, summed over the numbers of an image, mean over images, of (μ | log σ²)."""
    mean, log_variance = output.chunk(2, dim=1)
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2
