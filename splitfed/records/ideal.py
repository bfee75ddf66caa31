"""What nobody can exceed, as results keep it."""

from __future__ import annotations

import math
from typing import Literal

from splitfed.records.numbers import Number
from splitfed.records.record import Record


class IdealScore(Record):
    """What the best possible attacker reaches on the pool of a cell: an upper bound of the leak (`metrics.ideal`).

    It knows the pool's images, the channel and, where they travel in clear, the labels. ``channel`` is the law of the
    noise, "none" of a front that draws nothing, which tells all images apart whose activations differ. It sees so many
    ``observations`` of an image. ``top1`` is its rate of identification, ``mse`` the mean squared error of its
    reconstructions, both means over the pool and over ``draws`` of the noise, with their standard errors.
    ``information_bits`` is how much an activation, with its label where that is in clear, tells of which image of the
    pool it is; ``information_bound_bits`` bounds that for any images of the same means and covariances, null where
    nothing is drawn. What follows from the information for any attacker are at most ``fano_top1`` and at least
    ``fano_mse``; the exact figures are tighter.
    """

    channel: Literal["none", "gaussian", "laplace"]
    observations: int
    draws: int
    top1: Number
    top1_error: Number
    mse: Number
    mse_error: Number
    information_bits: Number
    information_bits_error: Number
    information_bound_bits: Number
    fano_top1: Number
    fano_mse: Number

    @property
    def psnr_db(self) -> Number:
        """The PSNR that the mean squared error is, dB; None where it is 0."""
        return psnr_of(self.mse)


def psnr_of(mse: Number) -> Number:
    """dB at data range 1; None of no error.

    >>> psnr_of(0.01), psnr_of(0.0)
    (20.0, None)
    """
    return -10 * math.log10(mse) if mse else None
