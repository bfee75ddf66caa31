"""The ideal attacker: what nobody can exceed who judges an activation of a known channel, by exact Bayesian inference.

One of N images was sent, each as likely as the others; the attacker knows all N, the channel p(z | x), and the label
where it travels in clear. Given what was seen, the posterior

    p(xⱼ | z) ∝ p(z | xⱼ) over the images of the label

is all that can be known. To name the image with the largest posterior is right most often, with probability
maxⱼ p(xⱼ | z); the posterior mean Σⱼ p(xⱼ | z)·xⱼ has the least mean squared error of all estimates (Lehmann and
Casella 1998, "Theory of Point Estimation", ch. 4). An attacker who knows less than all N images is one of those that
are bounded so. What is bounded is the average over these N images and the noise, of attackers who judge each image by
its own observations.

The expectations over the noise are Monte Carlo means over fresh draws, and come with their standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

GRID = 64
"""Distances that are tried for the bound of the error that follows from the information."""
STEPS = 60
"""Of a bisection, more than float64 resolves."""


@dataclass(frozen=True)
class MonteCarlo:
    """A Monte Carlo mean and its standard error over the noise."""

    mean: float
    error: float


@dataclass(frozen=True)
class IdealAttacker:
    """What the ideal attacker reaches, for each draw of the noise and each image behind it: float64, (D, N) each.

    Attributes:
        confidence: the probability that its guess is right, given the draw. Of k images that nothing tells apart it is
            1/k.
        squared_error: of the posterior mean, mean over pixels.
        remaining_bits: entropy of the posterior: what is still unknown of which of the N images it is.
    """

    confidence: Tensor
    squared_error: Tensor
    remaining_bits: Tensor

    @property
    def images(self) -> int:
        """N."""
        return self.confidence.shape[1]

    @property
    def draws(self) -> int:
        """D; 1 where nothing is drawn."""
        return self.confidence.shape[0]

    @property
    def top1(self) -> MonteCarlo:
        """The rate of right guesses, in [0, 1]."""
        return _estimate(self.confidence)

    @property
    def mse(self) -> MonteCarlo:
        """The mean squared error of the posterior mean."""
        return _estimate(self.squared_error)

    @property
    def information_bits(self) -> MonteCarlo:
        """I(image; what is seen): what it tells of which of the N images was sent, at most log₂ N."""
        remaining = _estimate(self.remaining_bits)
        return MonteCarlo(math.log2(self.images) - remaining.mean, remaining.error)


def ideal_attacker(log_likelihoods: Iterable[Tensor], pixels: Tensor, labels: Tensor | None = None) -> IdealAttacker:
    """What can be made of N images at most.

    Args:
        log_likelihoods: for each draw of the noise log p(zᵢ | xⱼ) up to a number per row, nats, (N, N), where zᵢ was
            drawn of image i. Several observations of an image are independent given it: add theirs up.
        pixels: the images, (N, ...).
        labels: int64, (N,), where they travel in clear.
    """
    rows = pixels.flatten(1).double()
    found = [_of_draw(likelihoods.double(), rows, labels) for likelihoods in log_likelihoods]
    confidence, error, remaining = (torch.stack(parts) for parts in zip(*found, strict=True))
    return IdealAttacker(confidence, error, remaining)


def equal_rows(activation: Tensor) -> Tensor:
    """The log-likelihoods of a front that draws nothing: 0 for images of one activation, −∞ for all others, (N, N).

    >>> equal_rows(torch.tensor([[1.0], [2.0], [1.0]])).exp().tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    _, kind = torch.unique(activation.flatten(1), dim=0, return_inverse=True)
    return torch.where(kind[:, None] == kind[None, :], 0.0, -math.inf)


def fano_top1(remaining_bits: float, candidates: int) -> float:
    """The largest rate of right guesses among so many candidates of which so much is unknown (Fano's inequality).

    H(X | Z) ≤ h(e) + e·log₂(M − 1), with the rate of errors e and the entropy h of a coin (Cover and Thomas 2006,
    theorem 2.10.1).

    >>> fano_top1(0.0, 8), round(fano_top1(3.0, 8), 6)
    (1.0, 0.125)
    """
    if candidates < 2:
        return 1.0
    most = math.log2(candidates - 1)
    return 1 - _least(lambda wrong: _coin_bits(wrong) + wrong * most, remaining_bits, upto=1 - 1 / candidates)


def fano_mse(remaining_bits: float, pixels: Tensor, labels: Tensor | None = None) -> float:
    """A mean squared error, mean over pixels, below which no attacker gets who is left with so little information.

    An estimate names the image that is nearest to it, which is off by more than a distance t with a probability P of

        H(X | Z) ≤ h(P) + P·log₂ M + (1 − P)·log₂ Nₜ

    at least, where no image has more than Nₜ within t. The estimate itself is then off by t/2 or more, so that its mean
    squared error is at least P·t²/4; the best t is taken (Duchi and Wainwright 2013, "Distance-based and continuum Fano
    inequalities", corollary 1, with the entropy of a coin for log 2).
    """
    distances, most = _distances(pixels, labels)
    finite = distances[distances.isfinite() & (distances > 0)]
    if not len(finite):
        return 0.0
    # just below a distance, so that the image at that distance is not within it
    grid = torch.quantile(_some(finite), torch.linspace(0, 1, GRID, dtype=torch.float64)) * (1 - 1e-9)
    best = 0.0
    for squared in grid.tolist():
        within = int((distances <= squared).sum(dim=1).max())
        near, far = math.log2(within), math.log2(most)
        wrong = _least(
            lambda p, near=near, far=far: _coin_bits(p) + p * far + (1 - p) * near,  # type: ignore[misc]
            remaining_bits,
            upto=most / (most + within),
        )
        best = max(best, wrong * squared / 4)
    return best


def most_alike(labels: Tensor | None, count: int) -> int:
    """Candidates among whom an image is sought: all, or those of the largest class where labels travel in clear."""
    return count if labels is None else int(torch.bincount(labels).max())


def _of_draw(scores: Tensor, rows: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Confidence, squared error and remaining bits of one draw of each image."""
    if labels is not None:
        scores = scores.masked_fill(labels[:, None] != labels[None, :], -math.inf)
    posterior = torch.softmax(scores, dim=1)
    error = (posterior @ rows - rows).square().mean(dim=1)
    remaining = -torch.special.xlogy(posterior, posterior).sum(dim=1) / math.log(2)
    return posterior.max(dim=1).values, error, remaining


def _estimate(values: Tensor) -> MonteCarlo:
    """The mean over draws and images; each image is drawn equally often, so that images add nothing to the error."""
    draws, images = values.shape
    within = float(values.var(dim=0).mean()) if draws > 1 else 0.0
    return MonteCarlo(float(values.mean()), math.sqrt(within / (draws * images)))


def _distances(pixels: Tensor, labels: Tensor | None) -> tuple[Tensor, int]:
    """Mean squared differences (N, N), infinite between classes that labels tell apart, and the most candidates."""
    rows = pixels.flatten(1).double()
    squares = rows.square().sum(dim=1)
    found = (squares[:, None] + squares - 2 * rows @ rows.T).clamp_min(0) / rows.shape[1]
    found.fill_diagonal_(0)
    if labels is not None:
        found = found.masked_fill(labels[:, None] != labels[None, :], math.inf)
    return found, most_alike(labels, len(pixels))


def _some(values: Tensor, most: int = 1 << 20) -> Tensor:
    """Evenly spaced ones of these, for quantiles of which no exactness is needed."""
    return values[:: max(1, len(values) // most)]


def _coin_bits(p: float) -> float:
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q > 0)


def _least(bits: Callable[[float], float], wanted: float, *, upto: float) -> float:
    """The smallest p in [0, ``upto``] of at least the wanted bits, which grow with p; ``upto`` where none has them."""
    low, high = 0.0, upto
    if bits(low) >= wanted:
        return 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if bits(middle) >= wanted else (middle, high)
    return low
