"""Re-identification: whether what an attacker has points at the individual behind it.

By pixels, a reconstruction is compared with each candidate's image. Through the front, no reconstruction is needed: the
attacker asks how likely each candidate is to have given the activation itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

TIE_TOLERANCE = 1e-9
"""Squared distances (sums over pixels) closer than this count as equal: rounding must not break a tie."""
ABOVE_CHANCE = 4.0
"""Standard deviations above the expected number of hits from which a rate is better than guessing."""
CHUNK = 1024
"""Reconstructions that are compared at a time."""
ROUNDING = 1e-6
"""What float32 leaves open of a squared distance, relative to what it is a difference of."""


class ReidResult(NamedTuple):
    """How often a reconstruction's nearest true image is its own original.

    Attributes:
        rate: in [0, 1]; down is the better defense.
        chance: the rate of guessing, 1 / n.
        n: how many true images there were to choose from.
    """

    rate: float
    chance: float
    n: int


def reid_top1(reconstruction: Tensor, target: Tensor, *, n: int = 1000) -> ReidResult:
    """Nearest neighbor by pixel MSE among the first ``n`` true images; a tie counts as a miss.

    Args:
        reconstruction: (B, C, H, W), in [0, 1].
        target: the originals, same shape and order.
        n: how many images take part, from the front; fewer if there are fewer.

    Raises:
        ValueError: there is no image.
    """
    hits = reid_hits(reconstruction, target, n=n)
    return ReidResult(rate=float(hits.double().mean()), chance=1.0 / len(hits), n=len(hits))


def reid_hits(reconstruction: Tensor, target: Tensor, *, n: int = 1000) -> Tensor:
    """Which of the first ``n`` reconstructions `reid_top1` counts: bool, (min(n, B),).

    Raises:
        ValueError: there is no image.
    """
    n = min(n, int(target.shape[0]))
    return hits_among(reconstruction[:n], target[:n], torch.arange(n))


def hits_among(guesses: Tensor, candidates: Tensor, own: Tensor) -> Tensor:
    """Which guesses are nearer, by pixel MSE, to their own original than to any other candidate: bool, (Q,).

    Args:
        guesses: reconstructions (Q, C, H, W), in [0, 1].
        candidates: true images (N, C, H, W).
        own: int64, (Q,), which candidate is the original.

    Raises:
        ValueError: there is no image.
    """
    if len(guesses) == 0 or len(candidates) == 0:
        raise ValueError("re-identification needs at least one image")
    rows = guesses.double().clamp(0, 1).flatten(1)
    truths = candidates.double().clamp(0, 1).flatten(1)
    # |t|² - 2 g·t is the squared distance less |g|², which no comparison within a row needs
    distances = truths.square().sum(dim=1) - 2.0 * rows @ truths.T
    return _own_is_best(-distances, own, TIE_TOLERANCE)


def matched_hits(log_likelihoods: Tensor, labels: Tensor | None = None) -> Tensor:
    """Which activations are likelier under their own candidate than under any other: bool, (N,); a tie is a miss.

    Args:
        log_likelihoods: log p(zᵢ | front(xⱼ)), nats, (N, N); candidate i is the one behind activation i.
        labels: int64, (N,): where they travel in clear, only candidates of the activation's own label are compared.
    """
    scores = log_likelihoods
    if labels is not None:
        scores = scores.masked_fill(labels[:, None] != labels[None, :], -math.inf)
    return _own_is_best(scores, torch.arange(len(scores)), 0.0)


def chance_in_class(labels: Tensor) -> float:
    """The mean rate of guessing among the candidates of one's own label.

    >>> chance_in_class(torch.tensor([0, 0, 1, 1]))
    0.5
    """
    counts = torch.bincount(labels)
    return float((1.0 / counts[labels].double()).mean())


def no_better_than_chance(hits: Tensor, chance: float) -> bool:
    """Whether so many hits are what guessing at this rate gives, within `ABOVE_CHANCE` standard deviations."""
    expected = chance * len(hits)
    return int(hits.sum()) <= expected + ABOVE_CHANCE * math.sqrt(expected * (1 - chance))


def _own_is_best(scores: Tensor, own: Tensor, tolerance: float) -> Tensor:
    """Whether each row's own candidate has the highest score, by more than the tolerance."""
    mine = scores.gather(1, own[:, None])[:, 0]
    others = scores.scatter(1, own[:, None], -math.inf).max(dim=1).values
    return mine > others + tolerance


def nearest_among(
    reconstruction: Tensor, target: Tensor, candidates: Tensor, numbers: Tensor, *, count: int
) -> tuple[Tensor, Tensor]:
    """Where each original stands among true images by their distance to the reconstruction, and which are nearest.

    Args:
        reconstruction: (B, C, H, W), in [0, 1].
        target: the originals, same shape and order.
        candidates: (M, C, H, W), the true images of the numbers 0 to M - 1.
        numbers: int64, (B,), of the originals; where one is M or above it is a candidate for its own image alone.
        count: how many of the nearest to name, at most M.

    Returns:
        The rank of each original, int64, (B,): 1 where no candidate is nearer, ties against it, as in `reid_top1`. And
        the numbers of the nearest ones, int64, (B, count), the nearest first.
    """
    count = min(count, len(candidates))
    truths = candidates.float().clamp(0, 1).flatten(1)
    sizes = truths.square().sum(dim=1)
    ranks, nearest = [], []
    for images, originals, of in zip(
        *(torch.split(each, CHUNK) for each in (reconstruction, target, numbers)), strict=True
    ):
        guesses, own = images.float().clamp(0, 1).flatten(1), originals.float().clamp(0, 1).flatten(1)
        size = guesses.square().sum(dim=1, keepdim=True)
        itself = of[:, None] == torch.arange(len(truths))
        distance = (guesses - own).square().sum(dim=1, keepdim=True)
        distances = torch.where(itself, distance, (sizes - 2.0 * guesses @ truths.T + size).clamp_min(0))
        nearer = (distances <= distance + ROUNDING * (size + distance)) & ~itself
        ranks.append(1 + nearer.sum(dim=1))
        alone = torch.where(itself.any(dim=1, keepdim=True), torch.inf, distance)
        order = torch.cat([distances, alone], dim=1).topk(count, largest=False).indices
        nearest.append(torch.where(order == len(truths), of[:, None], order))
    return torch.cat(ranks), torch.cat(nearest)
