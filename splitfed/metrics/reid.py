"""Re-identification: whether a reconstruction points at the individual behind it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

TIE_TOLERANCE = 1e-9
"""Squared distances (sums over pixels) closer than this count as equal: rounding must not break a tie."""


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
    if n == 0:
        raise ValueError("re-identification needs at least one image")
    guesses = reconstruction[:n].double().clamp(0, 1).flatten(1)
    truths = target[:n].double().clamp(0, 1).flatten(1)
    # |t|² - 2 g·t is the squared distance less |g|², which no comparison within a row needs
    distances = truths.square().sum(dim=1) - 2.0 * guesses @ truths.T
    own = distances.diagonal().clone()
    distances.fill_diagonal_(float("inf"))
    return own < distances.min(dim=1).values - TIE_TOLERANCE
