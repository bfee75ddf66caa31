"""What a network that is stacked on other attacks sees of an image, made by copies of them that never saw that image.

An attack knows the images that it was fitted to: a posterior mean finds the image itself among its candidates, a
regression has bent toward it. A network that learned from such reconstructions would trust them far too much. So the
attacker's images are dealt into folds, and what is made of a fold's images is by copies that learned from all others
(Wolpert 1992, "Stacked generalization").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitfed.attacks.auxiliary import BATCH, Predict, others_than
from splitfed.attacks.base import images_of
from splitfed.attacks.candidates import Candidates, candidates
from splitfed.attacks.inverter import ClosedForm, Target
from splitfed.attacks.linear import LinearMap, fit_ridge, refit
from splitfed.attacks.posterior_mean import best_exponent
from splitfed.attacks.ridge import PENALTIES
from splitfed.attacks.seen import Seen
from splitfed.types import ImageShape, Knowledge

FOLDS = 5
"""A copy learns from four fifths of the images; with more folds it costs as much more."""
TEMPERATURES = (1.0, 0.25, 4.0)
"""Of the posterior's weights, as shares of β: as they do best, blunter, and sharper."""


def folds_of(number: int) -> list[Tensor]:
    """So many positions dealt into `FOLDS` parts."""
    return [torch.arange(first, number, FOLDS) for first in range(FOLDS)]


@dataclass(frozen=True)
class PosteriorViews:
    """What the weights of the posterior mean say: means at several temperatures, and how far the images are spread.

    Attributes:
        candidates: the attacker's images.
        exponent: β, as `posterior_mean` fits it.
    """

    candidates: Candidates
    exponent: float

    def __call__(self, seen: Seen) -> Tensor:
        """The means at `TEMPERATURES`, then each pixel's standard deviation at the first: rows (n, 4·p)."""
        width = self.candidates.images.shape[1]
        views = seen.rows.new_empty(len(seen), len(TEMPERATURES) + 1, width)
        for places, own in self.candidates.by_class(seen, BATCH):
            scores = self.exponent * own.scores(seen[places])
            weights = [torch.softmax(share * scores, dim=1) for share in TEMPERATURES]
            means = [each @ own.images for each in weights]
            variance = weights[0] @ own.images.square() - means[0].square()
            views[places] = torch.stack([*means, variance.clamp_min(0).sqrt()], dim=1)
        return views.flatten(1)

    def without(self, places: Tensor) -> PosteriorViews:
        """The same with other candidates than those at these places."""
        return replace(self, candidates=self.candidates[others_than(places, len(self.candidates))])


@dataclass(frozen=True)
class BackProjection:
    """The misfit of an image, z − front(x̂), mapped back to pixels by ridge regression.

    Attributes:
        inverse: from features to pixels.
        knowledge: the front.
    """

    inverse: LinearMap
    knowledge: Knowledge

    def __call__(self, seen: Seen, images: Tensor) -> Tensor:
        """Of images (B, C, H, W): rows (B, C·H·W)."""
        misfit = seen.features - self.knowledge.features(self.knowledge.expected(images))
        return (misfit * self.inverse.standardize.inverse_scale) @ self.inverse.weight

    def refitted(self, draws: Sequence[Tensor], targets: Tensor) -> BackProjection:
        """The same from other images, as `linear.refit` has them."""
        return replace(self, inverse=refit(self.inverse, draws, targets))


@dataclass(frozen=True)
class Inputs:
    """From what was seen of images to what the network sees.

    Attributes:
        closed: what the closed forms make of it, each one image.
        views: see `PosteriorViews`.
        back: see there; None where the front is expensive to run.
        start: which of the images is the one to start from; its misfit is the last of the images.
        shape: channels, height and width.
    """

    closed: Sequence[Predict]
    views: PosteriorViews
    back: BackProjection | None
    start: int
    shape: ImageShape

    @property
    def choices(self) -> int:
        """How many of what the network sees are reconstructions, any of which may be the start: the first ones."""
        return len(self.closed) + len(TEMPERATURES)

    @property
    def maps(self) -> int:
        """How many images the network sees of each."""
        return self.choices + 1 + (self.back is not None)

    @torch.no_grad()
    def __call__(self, seen: Seen) -> Tensor:
        """Rows (n, maps, p): what the closed forms make, what the weights say, the misfit of the start."""
        return self.with_misfit(self.made(seen), seen)

    @torch.no_grad()
    def made(self, seen: Seen) -> Tensor:
        """The same without the misfit."""
        views = self.views(seen).view(len(seen), len(TEMPERATURES) + 1, -1)
        return torch.cat([*(predict(seen).clamp(0, 1)[:, None] for predict in self.closed), views], dim=1)

    @torch.no_grad()
    def with_misfit(self, made: Tensor, seen: Seen) -> Tensor:
        """What was `made`, and the misfit of the start, where the front is cheap enough to ask."""
        if self.back is None:
            return made
        misfit = self.back(seen, made[:, self.start].reshape(-1, *self.shape))
        return torch.cat([made, misfit[:, None]], dim=1)


@dataclass(frozen=True)
class CrossFitting:
    """The attacks and what else the network sees, and how to have it without some images.

    Attributes:
        attacks: closed forms that have learned.
        target: the front, and the images.
        whole: what is made by those that learned from all images of the fit part.
    """

    attacks: Sequence[ClosedForm]
    target: Target
    whole: Inputs

    def starting_at(self, start: int) -> CrossFitting:
        """The same with another start."""
        return replace(self, whole=replace(self.whole, start=start))

    def without(self, places: Tensor, draws: Sequence[Tensor]) -> Inputs:
        """What is made by those that learned from none of these images of the fit part.

        Args:
            places: (m,).
            draws: features (n, d) of the fit part, one per draw of the defense's randomness.
        """
        fit, back = self.target.fit, self.whole.back
        kept = others_than(places, len(fit.seen))
        return replace(
            self.whole,
            closed=[attack.without(places) for attack in self.attacks],
            views=self.whole.views.without(places),
            back=back and back.refitted([draw[kept] for draw in draws], fit.targets[kept]),
        )


@torch.no_grad()
def cross_fitting(attacks: Sequence[ClosedForm], target: Target, draws: Sequence[Tensor]) -> CrossFitting:
    """What the network is to see, by attacks that have learned; ``draws`` are features of the fit part, (n, d) each."""
    own = candidates(target, target.auxiliary.fit)
    whole = Inputs(
        closed=[_rows_of(attack) for attack in attacks],
        views=PosteriorViews(own, best_exponent(own, target, batch=BATCH)),
        back=None if target.knowledge.expensive else _back_projection(target, draws),
        start=0,
        shape=target.auxiliary.shape,
    )
    return CrossFitting(attacks, target, whole)


def _back_projection(target: Target, draws: Sequence[Tensor]) -> BackProjection:
    held_out = target.validation.features, target.validation.targets
    inverse = fit_ridge(draws, target.fit.targets, validation=held_out, penalties=PENALTIES)
    return BackProjection(inverse, target.knowledge)


def _rows_of(attack: ClosedForm) -> Callable[[Seen], Tensor]:
    return lambda seen: images_of(attack, seen.rows, seen.labels).flatten(1)
