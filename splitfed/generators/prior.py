"""Where a generator's latents lie, and how far is too far.

A search that may go anywhere finds images that fool the classifier and look like nothing: kept inside what the
prior would draw, it stays among images of the generator's kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HELD = 0.99
"""The share of the prior's own samples that lie inside."""
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Prior:
    """A union of ellipsoids that holds 99 % of the prior's samples.

    A latent w lies in ellipsoid k where ‖(w − centerₖ)·whitenerₖ‖ ≤ radius.

    Attributes:
        centers: float32, (k, d), latents as rows.
        whiteners: float32, (k, d, d); their columns make the k-th component's coordinates independent, of variance 1.
        radius: in standard deviations.
        spread: float32, (d,), the standard deviation of each coordinate of a latent over all samples.
    """

    centers: Tensor
    whiteners: Tensor
    radius: float
    spread: Tensor

    def distance(self, latents: Tensor) -> Tensor:
        """From the nearest center, (B,), as a share of the radius: at most 1 inside.

        Args:
            latents: (B, ...).
        """
        return self._distances(latents.flatten(1)).amin(dim=1)

    def hold(self, latents: Tensor) -> Tensor:
        """The latents, those outside moved straight toward the nearest center until they are inside: (B, ...)."""
        rows = latents.flatten(1)
        share, nearest = self._distances(rows).min(dim=1)
        centers = self.centers[nearest]
        held = centers + (rows - centers) / share.clamp_min(1)[:, None]
        return torch.where(share[:, None] > 1, held, rows).view_as(latents)

    def _distances(self, rows: Tensor) -> Tensor:
        """From each center, (B, k), as a share of the radius."""
        whitened = [(rows - center) @ whitener for center, whitener in zip(self.centers, self.whiteners, strict=True)]
        return torch.stack([each.norm(dim=1) for each in whitened], dim=1) / self.radius


def measured_prior(samples: Tensor) -> Prior:
    """One ellipsoid with the samples' mean and each coordinate's standard deviation, through their 99 % quantile.

    Args:
        samples: latents (N, ...), at least 2.
    """
    rows = samples.detach().flatten(1).float()
    center, spread = rows.mean(dim=0), rows.std(dim=0)
    whitener = torch.diag(1 / spread.clamp_min(LEAST_SPREAD))
    norms = ((rows - center) @ whitener).norm(dim=1)
    return Prior(center[None], whitener[None], max(float(norms.quantile(HELD)), LEAST_SPREAD), spread)
