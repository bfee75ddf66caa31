"""A weighted mean of several reconstructions, the weights chosen on validation images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MOST_PICKS = 20
"""Weights are multiples of one part in so many."""
LEAST_GAIN = 1e-4
"""A pick that lowers the loss by less is the last: in `leak_losses` this is 0.001 dB."""


def selected(library: Tensor, first: int, loss: Callable[[Tensor], float]) -> Tensor:
    """The weight of each, (m,), which add up to 1: beginning with one, always the one is added, again or for the first
    time, with which the mean has the least loss, as long as that falls.

    Args:
        library: reconstructions of the same images, (m, n, p).
        first: the one to begin with.
        loss: what is to be small.

    Source: Caruana, Niculescu-Mizil, Crew and Ksikes 2004, "Ensemble selection from libraries of models".
    """
    counts = torch.zeros(len(library))
    counts[first] = 1
    total, least = library[first].clone(), loss(library[first])
    for picks in range(2, MOST_PICKS + 1):
        losses = [loss((total + each) / picks) for each in library]
        best = min(range(len(library)), key=losses.__getitem__)
        if not losses[best] < least - LEAST_GAIN:
            break
        least, total = losses[best], total + library[best]
        counts[best] += 1
    return counts / counts.sum()
