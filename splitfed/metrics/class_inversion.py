"""How far a class was inverted, by class and by what stands beside it.

The figure is the share of the found images that the evaluation model gives to the wanted class. By itself it says
little: it is read as a lift over random samples of the generator and over what the initial selection alone picks, and
beside controls (`splitfed.metrics.inversion_controls`). It tells what a class looks like to the classifier, nothing of
an individual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from splitfed.metrics.bootstrap import bootstrap_ci95

ACCEPTED = 0.9
"""From this mean probability on the classifier takes the images for the class."""
AGREED = 0.5
"""Up to this share of them the evaluation model does not."""

Probabilities = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) in [0, 1] to class probabilities (B, K)."""


class FoundClass(NamedTuple):
    """What an attack found for a class, with what it is compared with: as many images of each, (n, C, H, W).

    Attributes:
        label: the class.
        images: the final ones.
        starts: after the initial selection alone.
        random: random samples of the generator.
    """

    label: int
    images: Tensor
    starts: Tensor
    random: Tensor


@dataclass(frozen=True)
class ClassAgreement:
    """One class. Shares are in [0, 1], of the images that the evaluation model gives to it.

    Attributes:
        label: the class.
        share: of the final images.
        start_share: of those after the initial selection alone.
        random_share: of random samples.
        target_confidence: what the classifier gives it, mean over the final images.
        adversarial: the classifier accepts the images, the evaluation model does not: they fool it, and invert nothing.
            Such a class counts as not found, whatever share the evaluation model agrees to.
        n: final images.
    """

    label: int
    share: float
    start_share: float
    random_share: float
    target_confidence: float
    adversarial: bool
    n: int


class Lift(NamedTuple):
    """By how much the final images' share exceeds another, with the 95 % bootstrap interval over images."""

    value: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """All classes.

    Attributes:
        classes: one each.
        share: of all final images, adversarial classes counted as not found.
        share_ci95: its 95 % bootstrap interval over images.
        over_random: its lift over random samples.
        over_selection: its lift over the initial selection alone.
        confusion: float64, (n, n) for n classes that were searched for: of the images found for each, the share that
            the evaluation model gives to each.
    """

    classes: tuple[ClassAgreement, ...]
    share: float
    share_ci95: tuple[float, float]
    over_random: Lift
    over_selection: Lift
    confusion: Tensor


def agreement(
    found: Sequence[FoundClass], *, evaluator: Probabilities, target: Probabilities, seed: int = 0
) -> Agreement:
    """Judge what was found.

    Args:
        found: at least one class.
        evaluator: the evaluation model.
        target: the classifier that was attacked, asked by the lab.
        seed: for the bootstraps.

    Raises:
        ValueError: nothing was found, or a class has other numbers of images to compare with.
    """
    if not found:
        raise ValueError("no class was searched for")
    judged = [_judge(each, evaluator, target) for each in found]
    hits, start_hits, random_hits = (torch.cat([each.hits[part] for each in judged]) for part in range(3))
    return Agreement(
        classes=tuple(each.agreement for each in judged),
        share=float(hits.mean()),
        share_ci95=bootstrap_ci95(hits, seed=seed),
        over_random=_lift(hits, random_hits, seed),
        over_selection=_lift(hits, start_hits, seed),
        confusion=torch.stack([each.given[[other.label for other in found]] for each in judged]),
    )


class _Judged(NamedTuple):
    """A class with its hits, float64, (n,) each: final, adversarial ones 0; starts; random."""

    agreement: ClassAgreement
    hits: tuple[Tensor, Tensor, Tensor]
    given: Tensor


def _judge(found: FoundClass, evaluator: Probabilities, target: Probabilities) -> _Judged:
    label = found.label
    if not len(found.images) or len({len(found.images), len(found.starts), len(found.random)}) > 1:
        raise ValueError(
            f"class {label} has {len(found.images)} final images, {len(found.starts)} after selection, and "
            f"{len(found.random)} random ones; shares are compared at equal numbers"
        )
    said = evaluator(found.images)
    final = (said.argmax(dim=1) == label).double()
    starts, random = ((evaluator(some).argmax(dim=1) == label).double() for some in (found.starts, found.random))
    confidence = float(target(found.images)[:, label].double().mean())
    adversarial = confidence > ACCEPTED and float(final.mean()) <= AGREED
    summary = ClassAgreement(
        label,
        float(final.mean()),
        float(starts.mean()),
        float(random.mean()),
        confidence,
        adversarial,
        len(found.images),
    )
    given = F.one_hot(said.argmax(dim=1), said.shape[1]).double().mean(dim=0)
    return _Judged(summary, (final * (not adversarial), starts, random), given)


def _lift(hits: Tensor, others: Tensor, seed: int) -> Lift:
    """Images of one class are compared in the order in which they come: neither order means anything."""
    differences = hits - others
    return Lift(float(differences.mean()), bootstrap_ci95(differences, seed=seed))
