"""How a set of made images lies among real ones, in features of a network that belongs to neither party.

A Fréchet distance is one number; these four tell apart whether images look real (precision, density) and whether all
kinds of real ones occur (recall, coverage). Each compares distances with the radius within which a feature has k others
of its own set.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from splitfed.metrics.bootstrap import bootstrap_ci95
from splitfed.metrics.feature_networks import FeatureNetwork

NEIGHBORS = 3
"""k of Struppek et al. 2022."""
BATCH = 64


class Neighborhoods(NamedTuple):
    """Where made images lie among real ones.

    Attributes:
        precision: share of the made that lie within the radius of a real one, in [0, 1].
        recall: share of the real that lie within the radius of a made one, in [0, 1].
        density: of how many real ones a made one lies within the radius, as a share of k; may exceed 1.
        coverage: share of the real within whose radius a made one lies, in [0, 1].
        real: images.
        made: images.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    real: int
    made: int


def neighborhoods(real: Tensor, made: Tensor, *, k: int = NEIGHBORS) -> Neighborhoods:
    """Precision, recall, density, and coverage of features.

    Args:
        real: features, (N, d), N > k.
        made: features, (M, d), M > k.
        k: the neighbor that gives the radius.

    Raises:
        ValueError: a set has no k-th neighbor.

    Source: Kynkäänniemi et al. 2019 (arXiv 1904.06991), eq. 1 to 3, for precision and recall; Naeem et al. 2020 (arXiv
    2002.09797), eq. 3 and 4, for density and coverage.
    """
    few = min(len(real), len(made))
    if few <= k:
        raise ValueError(f"a radius to the {k}-th neighbor needs more than {k} images, found {few}")
    between = torch.cdist(real.double(), made.double(), compute_mode="donot_use_mm_for_euclid_dist")
    in_real = between <= _radii(real, k)[:, None]
    in_made = between <= _radii(made, k)[None, :]
    return Neighborhoods(
        precision=_share(in_real.any(dim=0)),
        recall=_share(in_made.any(dim=1)),
        density=float(in_real.double().sum(dim=0).mean()) / k,
        coverage=_share(in_real.any(dim=1)),
        real=len(real),
        made=len(made),
    )


class Memorization(NamedTuple):
    """Whether what was found lies nearer to private images than to others of their distribution.

    Attributes:
        nearest_private: distance to the nearest private image, mean over what was found.
        nearest_held_out: the same to the nearest of as many images that nobody trained on.
        difference: the first minus the second; below 0, private images shine through.
        difference_ci95: its 95 % bootstrap interval over what was found.
        n: private images, and held-out images.
    """

    nearest_private: float
    nearest_held_out: float
    difference: float
    difference_ci95: tuple[float, float]
    n: int


def memorization(
    found: Tensor, private: Tensor, held_out: Tensor, *, draws: torch.Generator, seed: int = 0
) -> Memorization:
    """Compare with private and with held-out images at equal numbers: with more of them, the nearest is nearer.

    Args:
        found: features of what was found, (M, d).
        private: features of the images that the classifier was trained on, (N, d).
        held_out: features of others of the same distribution, best of the same classes, (L, d).
        draws: which ones are compared where one set is larger.
        seed: for the bootstrap.

    Raises:
        ValueError: a set is empty.
    """
    n = min(len(private), len(held_out))
    if not n or not len(found):
        raise ValueError("nothing to compare: no image was found, or there are no private or no held-out ones")
    near, far = (_nearest(found, some[torch.randperm(len(some), generator=draws)[:n]]) for some in (private, held_out))
    return Memorization(
        float(near.mean()), float(far.mean()), float((near - far).mean()), bootstrap_ci95(near - far, seed=seed), n
    )


def features_of(network: FeatureNetwork, pixels: Tensor) -> Tensor:
    """Features (N, d) of images (N, C, H, W) in [0, 1], some at a time."""
    return torch.cat([network(batch) for batch in torch.split(pixels, BATCH)])


def _radii(features: Tensor, k: int) -> Tensor:
    """The distance of each feature to its k-th nearest other, (N,)."""
    rows = features.double()
    within = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return within.kthvalue(k + 1, dim=1).values  # the first is itself


def _nearest(found: Tensor, others: Tensor) -> Tensor:
    between = torch.cdist(found.double(), others.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return between.amin(dim=1)


def _share(which: Tensor) -> float:
    return float(which.double().mean())
