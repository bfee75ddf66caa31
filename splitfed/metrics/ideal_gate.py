"""The gate that nobody beats the ideal attacker: if one does, one of the two is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from splitfed.metrics.gates import GateResult
from splitfed.metrics.ideal import IdealAttacker

BEYOND = 5.0
"""Joint standard errors by which a mean has to be beyond the ideal attacker's to count."""
ALARM = 1e-6
"""The probability of as many hits by luck, below which they are too many: some hundred tests in a run stay silent."""
FEWEST_IMAGES = 30
"""For a standard error to mean something."""
ROUNDING = 1e-9
"""Of a mean squared error in float32."""


def below_ideal(
    ideal: IdealAttacker, hits: Mapping[str, Tensor], errors: Mapping[str, tuple[Tensor, Tensor]]
) -> GateResult:
    """No attack, and not the front itself, does better than what nobody can exceed.

    One that does shows that the channel is not what the defense says, that an attack saw more than its observations,
    or that the ideal is wrong. Held against each other are the same images of one pool, judged with the labels known or
    not as the ideal attacker is, and mean squared errors, which are what it minimizes.

    Args:
        ideal: for the N images of the pool.
        hits: by name of an attack, whether it found the image behind each activation that it has, bool, (n,).
        errors: by name of an attack, places in the pool, int64, (n,), and the squared errors there, mean over pixels.
    """
    beaten = [why for name, found in hits.items() if (why := _too_often(name, found, ideal))]
    beaten += [why for name, (at, own) in errors.items() if (why := _too_close(name, own, at, ideal))]
    top1, mse = ideal.top1, ideal.mse
    detail = (
        f"ideal among {ideal.images:,} images: {top1.mean:.2%} ± {top1.error:.2%} identified, mean squared error "
        f"{mse.mean:.4g} ± {mse.error:.2g}; none of {len(hits)} identifications and {len(errors)} attacks is beyond"
    )
    return GateResult("below_ideal", not beaten, "; ".join(beaten) or detail)


def _too_often(name: str, hits: Tensor, ideal: IdealAttacker) -> str:
    """Empty unless so many hits are hardly possible at the ideal attacker's rate, taken higher by its own error.

    Of hits of different probabilities a binomial number of the same mean has the larger spread (Hoeffding 1956).
    """
    from scipy.stats import binom

    top1, found, of = ideal.top1, int(hits.sum()), len(hits)
    rate = min(top1.mean + BEYOND * top1.error, 1.0)
    if found <= rate * of or binom.sf(found - 1, of, rate) >= ALARM:
        return ""
    return f"{name} identified {found} of {of}, the ideal attacker {top1.mean:.2%} ± {top1.error:.2%}: one is wrong"


def _too_close(name: str, errors: Tensor, places: Tensor, ideal: IdealAttacker) -> str:
    """Empty unless the errors are smaller than the ideal attacker's on the same images, by more than their joint error.

    Image by image, so that what makes one image harder than another cancels.
    """
    if len(errors) < FEWEST_IMAGES:
        return ""
    beyond = errors.double() - ideal.squared_error.mean(dim=0)[places]
    joint = float(beyond.std()) / math.sqrt(len(beyond))
    if float(beyond.mean()) >= -BEYOND * joint - ROUNDING:
        return ""
    return (
        f"{name} has a mean squared error of {float(errors.double().mean()):.4g} over {len(errors)} images, the ideal "
        f"attacker's less {-float(beyond.mean()):.4g} ± {joint:.2g}: one is wrong"
    )
