"""The sparse coding architecture with calibrated noise on a small bottleneck; our own combination.

Noise on wide activations of unknown size promises nothing. Here the front ends on the unit sphere of d dimensions,
where two points differ by at most Δ = 2·√d in L1: their L2 distance is at most 2, and ‖v‖₁ ≤ √d·‖v‖₂. Laplace noise of
scale b on each number is then the Laplace mechanism (Dwork et al. 2006, "Calibrating Noise to Sensitivity in Private
Data Analysis"), and each activation is ε-locally differentially private with ε = Δ / b, whatever the image and the
weights.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Figures, TapEvidence
from splitfed.defenses.laplace import laplace
from splitfed.defenses.sca import SparseCodingOptions, sparse_front
from splitfed.defenses.sparse_stem import CHECKED_IMAGES, SparseStemDefense
from splitfed.metrics.findings import Finding, laplace_scale, noise_scale_within
from splitfed.models.bottleneck_fronts import UnitBottleneckFront
from splitfed.models.front import FrontSpec, initialize
from splitfed.types import Channel, Phase

NOISE_TOLERANCE = 0.05
"""Of the measured scale, relative (DESIGN, section 7)."""

STANDARD_ERRORS = 4
"""What an honest measurement stays within, if not within `NOISE_TOLERANCE`: few numbers leave per image, and the mean
of n draws of |Laplace| is known to a relative 1 / √n only."""

LONGEST_ERROR = 1e-4
"""How far from 1 the norm of a bottleneck's vector may be: float32 rounding, and room."""


class SparseCodingNoiseOptions(SparseCodingOptions):
    """Options of `SparseCodingNoise`."""

    dimensions: int = Field(default=8, ge=2)
    """d of the bottleneck: numbers per image that leave the client. On a line (1) the sphere has two points."""
    scale: float = Field(default=0.5, gt=0)
    """b of Laplace(0, b) on each of them; they lie in [−1, 1]."""


class SparseCodingNoise(SparseStemDefense):
    """Two sparse coding layers, the linear layers, a unit-norm bottleneck, and Laplace noise in every phase."""

    name = "sca_noise"
    about = "sparse coding, then calibrated Laplace noise on a small unit-norm bottleneck"
    source = "this project; after Dibbo et al. 2024, arXiv 2403.14772, and Dwork et al. 2006"
    randomized = True
    Options = SparseCodingNoiseOptions
    options: SparseCodingNoiseOptions

    def build_front(self, spec: FrontSpec, generator: torch.Generator) -> UnitBottleneckFront:
        front = UnitBottleneckFront(sparse_front(spec, self.options, generator), spec.width, self.options.dimensions)
        initialize(front, generator)
        return front

    def released(self, width: int) -> int:  # noqa: ARG002
        return self.options.dimensions

    def protect(self, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:  # noqa: ARG002
        return output + laplace(output.shape, self.options.scale, generator)

    def channel(self, output: Tensor, phase: Phase = Phase.AUDIT) -> Channel:  # noqa: ARG002
        return Channel("laplace", output, torch.full_like(output, self.options.scale))

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """Codes are sparse, the bottleneck lies on the sphere, and the noise at the tap has the stated scale."""
        noise = evidence.tapped - evidence.clean
        tolerance = max(NOISE_TOLERANCE, STANDARD_ERRORS / math.sqrt(noise.numel()))
        return [
            *self.sparse_findings(evidence),
            _on_the_sphere(evidence),
            noise_scale_within(laplace_scale(noise), self.options.scale, tolerance=tolerance),
        ]

    def figures(self, evidence: TapEvidence) -> Figures:
        """The ε of local differential privacy: the larger, the less it promises; above 10 or so it promises nothing.

        - ``local_epsilon``: of one activation of the trained front.
        - ``local_epsilon_rounds``: of an image's own activations over the local epochs of all rounds, which add up
          (basic composition); where not all clients train in each round, of the client that trains most often.
        - ``local_epsilon_rounds_batch_size``: the same with what batch norm lets through. In training it mixes
          the images of a batch, so that each of the batch's activations depends on the image, and all of them count.

        Labels, gradients and the averaged weights leave a client without noise and are not covered.
        """
        plan = evidence.plan
        epsilon = sensitivity(self.options.dimensions) / self.options.scale
        over_rounds = epsilon * max(plan.epochs)
        return {
            "local_epsilon": epsilon,
            "local_epsilon_rounds": over_rounds,
            "local_epsilon_rounds_batch_size": over_rounds * plan.batch_size,
        }


def sensitivity(dimensions: int) -> float:
    """Δ: the largest L1 distance of two unit vectors, 2·√d; v and −v with equal numbers reach it.

    >>> sensitivity(4)
    4.0
    """
    return 2 * math.sqrt(dimensions)


@torch.no_grad()
def _on_the_sphere(evidence: TapEvidence) -> Finding:
    norms = evidence.front(evidence.pixels[:CHECKED_IMAGES]).norm(dim=1)
    error = float((norms - 1).abs().max())
    return Finding(error <= LONGEST_ERROR, f"norms of the bottleneck are 1 to {error:.1e}")
