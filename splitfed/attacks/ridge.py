"""The closed-form attack: a linear map from activations to pixels, or one per class, fitted in about a second.

On an undefended linear layer it is hard to beat, and where it does well a defense has done nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from splitfed.attacks.auxiliary import Pairs, Predict, others_than, predict_rows
from splitfed.attacks.base import Progress
from splitfed.attacks.inverter import ClosedForm, Target
from splitfed.attacks.linear import LinearMap, fit_ridge, mean_map, refit
from splitfed.attacks.seen import Seen
from splitfed.metrics.fingerprint import fingerprint
from splitfed.options import Options

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 5))
"""From 1e-6 to 1e2, where standardized features have variance 1."""


class RidgeOptions(Options):
    """Options of `Ridge`."""

    draws: int = Field(default=8, ge=1, le=100)
    """Draws of a randomized defense to fit on, all together."""


FEWEST_OF_CLASS = 20
"""Images of a class to fit on, below which it has no regression of its own."""


@dataclass(frozen=True)
class FrontMap:
    """The regression of a front, or one for each class.

    Attributes:
        overall: over all classes.
        by_class: by label, of the classes that have one of their own; empty where the label does not help.
    """

    overall: LinearMap
    by_class: Mapping[int, LinearMap]

    def __call__(self, seen: Seen) -> Tensor:
        """To targets as rows (B, p)."""
        made = self.overall(seen.features)
        for label, of_class in self.by_class.items():
            places = torch.nonzero(seen.labels == label)[:, 0]
            made[places] = of_class(seen.features[places])
        return made

    def refitted(self, draws: Sequence[Tensor], fit: Pairs) -> FrontMap:
        """The same regressions with the same penalties on other images, as `fit_by_class` has them."""
        overall = refit(self.overall, draws, fit.targets)
        by_class = {}
        for label, of_class in self.by_class.items():
            places = torch.nonzero(fit.labels == label)[:, 0]
            if len(places):
                by_class[label] = refit(of_class, [draw[places] for draw in draws], fit.targets[places])
        return FrontMap(overall, by_class)


def fit_to_front(target: Target, *, draws: int) -> FrontMap:
    """The ridge regression that inverts this front; several draws only if it is randomized."""
    features = draw_features(target, draws)
    return fit_by_class(features, target.fit, target.validation, target.auxiliary.classes)


def draw_features(target: Target, draws: int) -> list[Tensor]:
    """Features of the fit part, (n, d): several draws only if the front is randomized."""
    fresh = [target.redraw_fit().features for _ in range(1, draws)] if target.knowledge.randomized else []
    return [target.fit.features, *fresh]


def fit_by_class(draws: Sequence[Tensor], fit: Pairs, validation: Pairs, classes: int) -> FrontMap:
    """One regression, or one for each class where that does better on the validation part: the label is known, and
    images of one class are closer to linear in their activations.

    Args:
        draws: features (n, d) of the images of ``fit``, one per draw of the defense's randomness.
        fit: the targets, and the labels.
        validation: what the penalties are chosen on, and whether classes are told apart.
        classes: how many there are.
    """

    def regression(fitted: Tensor, judged: Tensor) -> LinearMap:
        return fit_ridge(
            [draw[fitted] for draw in draws],
            fit.targets[fitted],
            validation=(validation.features[judged], validation.targets[judged]),
            penalties=PENALTIES,
        )

    def error(fitted: FrontMap) -> float:
        return float((predict_rows(fitted, validation.seen) - validation.targets).square().mean())

    overall = regression(
        torch.ones_like(fit.labels, dtype=torch.bool), torch.ones_like(validation.labels, dtype=torch.bool)
    )
    counts, judged = (torch.bincount(pairs.labels, minlength=classes) for pairs in (fit, validation))
    enough = torch.nonzero((counts >= FEWEST_OF_CLASS) & (judged > 0))[:, 0].tolist()
    by_class = {label: regression(fit.labels == label, validation.labels == label) for label in enough}
    return min((FrontMap(overall, {}), FrontMap(overall, by_class)), key=error)


class Ridge(ClosedForm):
    """Standardize each feature, then ridge regression, by class where the label helps; the validation part chooses."""

    name = "ridge"
    about = "closed form: ridge regression from standardized activations to pixels, by class where the label helps"
    adaptivity = "fits on several draws of the noise together"
    faces_training = True
    Options = RidgeOptions
    options: RidgeOptions

    def advance(self) -> Progress:
        target = self._begun
        self._map = fit_to_front(target, draws=self.options.draws)
        self._epochs += 1
        self._plateaued = True
        return Progress(
            epoch=self._epochs,
            train_loss=self._loss_on(target.fit, self._map),
            validation_loss=self._loss_on(target.validation, self._map),
            plateaued=True,
            finished=True,
        )

    def without(self, places: Tensor) -> Predict:
        target = self._begun
        kept = others_than(places, len(target.fit.seen))
        draws = [draw[kept] for draw in draw_features(target, self.options.draws)]
        return self._map.refitted(draws, target.fit[kept])

    def _start(self, target: Target) -> float:
        self._map = FrontMap(mean_map(target.fit.features, target.fit.targets), {})
        self._before = self._fingerprint()
        return self._loss_on(target.fit, self._map)

    def _predict(self, seen: Seen) -> Tensor:
        return self._map(seen)

    def _parameters_moved(self) -> bool:
        return self._fingerprint() != self._before

    def _fingerprint(self) -> str:
        return fingerprint([each.weight for each in (self._map.overall, *self._map.by_class.values())])
