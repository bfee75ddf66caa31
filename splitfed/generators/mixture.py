"""Principal components of the attacker's own images, and a mixture of Gaussians among them.

A generator that takes seconds on a CPU. On small medical images it lies nearer to real ones than small adversarial
networks that were trained for minutes, in features of a network that belongs to neither party
(docs/plug_and_play.md). It shows the kind of an image, blurred; no photographs in high resolution.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from splitfed.errors import UserError
from splitfed.generators.base import GeneratorProvenance, ImageGenerator
from splitfed.generators.prior import HELD, Prior
from splitfed.options import Options
from splitfed.types import Images

FEWEST_IMAGES = 20
IMAGES_PER_DIRECTION = 4
"""A direction of fewer images is mostly chance."""
IMAGES_PER_COMPONENT = 50
POWER_STEPS = 3
"""Of the randomized range finder, between which it is made orthonormal (Halko et al. 2011, algorithm 4.4)."""
EXTRA_DIRECTIONS = 16
LEAST_VARIANCE = 1e-2
"""Added to each component's covariance, in units of a direction's variance: few images fill no 128 dimensions."""
MOST_STEPS = 12
"""Of expectation maximization; a mixture that is not yet at rest is as good a prior."""


class MixtureOptions(Options):
    """Options of `Mixture`."""

    directions: int = Field(default=128, ge=1)
    """Principal components, most; an image in four has one."""
    components: int = Field(default=24, ge=1)
    """Gaussians, most; fifty images have one."""
    labeled: bool = False
    """One Gaussian for each class, from the labels of the attacker's images, in place of the mixture. Random samples
    are then of the wanted class before anybody asks the classifier: a control, no attack."""


class Mixture(ImageGenerator):
    """Latents are coordinates along the principal components, in standard deviations, (B, directions)."""

    name = "mixture"
    about = "principal components and a mixture of Gaussians of the attacker's own images; seconds on a CPU"
    Options: ClassVar[type[Options]] = MixtureOptions
    options: MixtureOptions

    @property
    def labeled(self) -> bool:
        """Whether there is a Gaussian for each class."""
        return self.options.labeled

    def load(self, auxiliary: Images, generator: torch.Generator) -> None:
        """Fit it to the attacker's own images.

        Raises:
            UserError: fewer than `FEWEST_IMAGES`, or with ``labeled`` a class of fewer than two.
        """
        number = len(auxiliary)
        if number < FEWEST_IMAGES:
            raise UserError(
                f"generator mixture: {number} auxiliary images; it needs at least {FEWEST_IMAGES}: raise aux"
            )
        self._images = auxiliary
        rows = auxiliary.pixels.flatten(1)
        self._mean = rows.mean(dim=0)
        wanted = max(1, min(self.options.directions, number // IMAGES_PER_DIRECTION, rows.shape[1]))
        self._basis, scale = _principal(rows - self._mean, wanted, generator)
        self._basis, self._scale = self._basis[scale > 0], scale[scale > 0]
        if not len(self._scale):
            raise UserError("generator mixture: all auxiliary images are equal; give the attacker others")
        self._fit((rows - self._mean) @ self._basis.T / self._scale, auxiliary, generator)

    def provenance(self) -> GeneratorProvenance:
        """The attacker's own images."""
        origin = f"fitted here to {len(self._images):,} images of the attacker's own"
        return GeneratorProvenance(origin, "that of the attacker's images", self._images)

    def sample(self, count: int, generator: torch.Generator, label: int | None = None) -> Tensor:
        """Draws of the mixture, or of a class's Gaussian, (count, directions)."""
        if label is None:
            drawn = torch.multinomial(self._shares, count, replacement=True, generator=generator)
        else:
            drawn = torch.full((count,), label)
        noise = torch.randn(count, len(self._scale), generator=generator)
        return self._centers[drawn] + torch.einsum("bij,bj->bi", self._factors[drawn], noise)

    def synthesize(self, latents: Tensor) -> Tensor:
        """The point in the span of the principal components, clamped to [0, 1]."""
        rows = self._mean + (latents * self._scale) @ self._basis
        return rows.clamp(0, 1).view(-1, *self.shape)

    def describe_prior(self) -> Prior:
        """The ellipsoids of the components, each of which holds 99 % of its own."""
        from scipy.stats import chi2

        directions = len(self._scale)
        within = self._shares @ self._factors.square().sum(dim=2)
        between = self._shares @ (self._centers - self._shares @ self._centers).square()
        radius = float(np.sqrt(chi2.ppf(HELD, directions)))
        return Prior(self._centers, self._whiteners, radius, (within + between).sqrt())

    def _fit(self, latents: Tensor, auxiliary: Images, generator: torch.Generator) -> None:
        """The components of these latents (N, directions): shares, centers, and covariances."""
        if self.options.labeled:
            parts = [latents[auxiliary.labels == label] for label in range(len(auxiliary.classes))]
            poor = [name for name, part in zip(auxiliary.classes, parts, strict=True) if len(part) < 2]
            if poor:
                raise UserError(
                    f"generator mixture: class {poor[0]!r} has fewer than 2 auxiliary images; raise aux, or leave "
                    "`labeled` out"
                )
            fits = [_gaussians(part, 1, generator) for part in parts]
        else:
            components = min(self.options.components, max(1, len(latents) // IMAGES_PER_COMPONENT))
            fits = [_gaussians(latents, components, generator)]
        self._shares, self._centers, self._whiteners, covariances = (
            torch.cat([torch.from_numpy(part).float() for part in column]) for column in zip(*fits, strict=True)
        )
        self._shares = self._shares / self._shares.sum()
        self._factors = torch.linalg.cholesky(covariances.double()).float()


def _principal(rows: Tensor, wanted: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The first principal directions of centered rows (N, p) and the standard deviations along them: (d, p), (d,)."""
    tries = min(wanted + EXTRA_DIRECTIONS, *rows.shape)
    found = rows @ torch.randn(rows.shape[1], tries, generator=generator)
    for _ in range(POWER_STEPS):
        found = rows @ (rows.T @ torch.linalg.qr(found).Q)
    range_basis = torch.linalg.qr(found).Q
    _, sizes, directions = torch.linalg.svd(range_basis.T @ rows, full_matrices=False)
    scale = sizes[:wanted] / max(1, len(rows) - 1) ** 0.5
    return directions[:wanted], torch.where(scale > 1e-6 * scale[0], scale, 0)


def _gaussians(
    latents: Tensor, components: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A mixture by scikit-learn: weights (k,), means (k, d), whitening factors and covariances (k, d, d)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    mixture = GaussianMixture(components, reg_covar=LEAST_VARIANCE, max_iter=MOST_STEPS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # see MOST_STEPS
        mixture.fit(latents.numpy())
    return mixture.weights_, mixture.means_, mixture.precisions_cholesky_, mixture.covariances_
