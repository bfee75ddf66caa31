"""The ideal attacker against what was observed: what nobody can exceed, and the gate that nobody does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from splitfed.metrics.ideal import IdealAttacker, equal_rows, fano_mse, fano_top1, ideal_attacker, most_alike
from splitfed.models.channel import draw, log_likelihood
from splitfed.models.information import information_bound_bits
from splitfed.records.ideal import IdealScore
from splitfed.seeding import generator
from splitfed.types import Channel

MOST_DRAWS, FEWEST_DRAWS = 4, 2
"""Of the noise of each image."""
MOST_NUMBERS = 5_000_000_000
"""That are compared in all, for more than the fewest draws: seconds on one core."""
CERTAIN = 2.0
"""Standard errors by which the remaining uncertainty is taken lower before bounds are drawn from it."""


def against_channels(channels: Sequence[Channel], pixels: Tensor, labels: Tensor | None, *, seed: int) -> IdealAttacker:
    """Who sees one draw of each of these channels of the same images, which are what is seen of an image.

    Args:
        channels: one for each observation of an image: as often the same one as it is observed, or those of several
            fronts.
        pixels: the images, (N, C, H, W).
        labels: int64, (N,), where they travel in clear.
        seed: of the noise.
    """
    return ideal_attacker(_draws(channels, seed), pixels, labels)


def against_activations(activation: Tensor, pixels: Tensor, labels: Tensor | None) -> IdealAttacker:
    """Who sees what a front sends that draws nothing: activations (N, d)."""
    return ideal_attacker([equal_rows(activation)], pixels, labels)


def ideal_score(
    found: IdealAttacker, pixels: Tensor, labels: Tensor | None, channels: Sequence[Channel] = ()
) -> IdealScore:
    """What is recorded of it, with what follows from the information for any attacker.

    Args:
        found: against these images.
        pixels: (N, C, H, W).
        labels: int64, (N,), where they travel in clear.
        channels: those that it saw; none of a front that draws nothing, which bounds no information.
    """
    top1, mse, information = found.top1, found.mse, found.information_bits
    known = information.mean + CERTAIN * information.error
    remaining = max(math.log2(found.images) - known, 0.0)
    return IdealScore(
        channel=channels[0].law if channels else "none",
        observations=max(len(channels), 1),
        draws=found.draws,
        top1=top1.mean,
        top1_error=top1.error,
        mse=mse.mean,
        mse_error=mse.error,
        information_bits=information.mean,
        information_bits_error=information.error,
        information_bound_bits=information_bound_bits(channels, labels) if channels else None,
        fano_top1=fano_top1(remaining, most_alike(labels, found.images)),
        fano_mse=fano_mse(remaining, pixels, labels),
    )


def _draws(channels: Sequence[Channel], seed: int) -> Iterator[Tensor]:
    """The log-likelihoods of each draw."""
    drawn = generator(seed, "ideal")
    numbers = sum(channel.location.numel() * len(channel.location) for channel in channels)
    for _ in range(max(FEWEST_DRAWS, min(MOST_DRAWS, MOST_NUMBERS // numbers))):
        likelihoods = [log_likelihood(draw(channel, drawn), channel).double() for channel in channels]
        yield sum(likelihoods[1:], start=likelihoods[0])
