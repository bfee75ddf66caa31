"""The estimate for fronts with noise: the update of an ensemble around the posterior mean.

The k candidates that are most likely to have given z, with their posterior weights w, stand for the prior. Image and
activation are taken to be jointly Gaussian there, with the noise's covariance Σ on the activation (the analysis step of
Evensen 1994, "Sequential data assimilation with a nonlinear quasi-geostrophic model using Monte Carlo methods", for
weighted members). With D and F the members' differences from their weighted means, times √w,

    x̂ = m + Dᵀ · (F·(τΣ)⁻¹·Fᵀ + I)⁻¹ · F·(τΣ)⁻¹ · (z − μ)

Nothing is linearized: the front's outputs of the members say how image and activation go together. The weights know z
already, so that its noise counts τ times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitfed.attacks.auxiliary import others_than
from splitfed.attacks.candidates import Candidates
from splitfed.attacks.seen import Seen
from splitfed.models.channel import variance

MEMBERS = 128
"""k: beyond these, weights are small."""
MOST_NUMBERS = 2**25
"""Of the members of a batch, together: 128 MiB."""


@dataclass(frozen=True)
class Temperature:
    """τ, how often the noise counts."""

    value: float


@dataclass(frozen=True)
class ThroughNoise:
    """What is known of a front with noise.

    Attributes:
        candidates: the attacker's images.
        exponent: β of their weights, as `posterior_mean` fits it.
        batch: activations that are solved for at a time.
    """

    candidates: Candidates
    exponent: float
    batch: int

    def __call__(self, seen: Seen, temperature: Temperature) -> Tensor:
        """Pixels as rows (n, p)."""
        width = self.candidates.images.shape[1]
        images = seen.rows.new_empty(len(seen), width)
        batch = max(1, min(self.batch, MOST_NUMBERS // (MEMBERS * width)))
        for places, own in self.candidates.by_class(seen, batch):
            images[places] = self._estimate(own, seen[places], temperature.value)
        return images.clamp(0, 1)

    def without(self, places: Tensor) -> ThroughNoise:
        """The same with other candidates than those at these places."""
        return replace(self, candidates=self.candidates[others_than(places, len(self.candidates))])

    def _estimate(self, own: Candidates, seen: Seen, temperature: float) -> Tensor:
        scores, members = (self.exponent * own.scores(seen)).topk(min(MEMBERS, len(own)), dim=1)
        weights = torch.softmax(scores, dim=1)
        noise = (weights[..., None] * variance(own.channel)[members]).sum(dim=1)
        return ensemble_update(
            own.images[members], own.channel.location[members], weights, seen.rows, temperature * noise
        )


def ensemble_update(images: Tensor, outputs: Tensor, weights: Tensor, activation: Tensor, noise: Tensor) -> Tensor:
    """The estimate x̂ of each image, (n, p).

    Args:
        images: of the members, (n, k, p).
        outputs: what the front gives for them, (n, k, d).
        weights: (n, k), each row adds up to 1.
        activation: z, (n, d).
        noise: the diagonal of τΣ, (n, d).
    """
    mean, output_mean = ((weights[..., None] * each).sum(dim=1) for each in (images, outputs))
    root = weights.sqrt()[..., None]
    spread, output_spread = root * (images - mean[:, None]), root * (outputs - output_mean[:, None])
    whitened = output_spread / noise.sqrt()[:, None]
    misfit = (activation - output_mean) / noise.sqrt()
    gram = torch.bmm(whitened, whitened.transpose(1, 2)) + torch.eye(images.shape[1])
    along = torch.cholesky_solve(torch.bmm(whitened, misfit[..., None]), torch.linalg.cholesky(gram))
    return mean + torch.bmm(along.transpose(1, 2), spread)[:, 0]
