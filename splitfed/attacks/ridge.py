"""The closed-form attack: one linear map from activations to pixels, fitted in about a second.

On an undefended linear layer it is hard to beat, and where it does well a defense has done nothing.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from splitfed.attacks.base import Progress
from splitfed.attacks.inverter import Inverter, Target
from splitfed.attacks.linear import LinearMap, fit_ridge, mean_map
from splitfed.metrics.fingerprint import fingerprint
from splitfed.options import Options

PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 5))
"""From 1e-6 to 1e2, where standardized features have variance 1."""


class RidgeOptions(Options):
    """Options of `Ridge`."""

    draws: int = Field(default=8, ge=1, le=100)
    """Draws of a randomized defense to fit on, all together."""


def fit_to_front(target: Target, *, draws: int) -> LinearMap:
    """The ridge regression that inverts this front; several draws only if it is randomized."""
    fresh = [target.redraw_fit().features for _ in range(1, draws)] if target.knowledge.randomized else []
    return fit_ridge(
        [target.fit.features, *fresh],
        target.fit.targets,
        validation=(target.validation.features, target.validation.targets),
        penalties=PENALTIES,
    )


class Ridge(Inverter):
    """Standardize each feature, then ridge regression; the penalty is chosen on the validation part."""

    name = "ridge"
    about = "closed form: ridge regression from standardized activations to pixels"
    adaptivity = "fits on several draws of the noise together"
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

    def _start(self, target: Target) -> float:
        self._map = mean_map(target.fit.features, target.fit.targets)
        self._before = fingerprint([self._map.weight])
        return self._loss_on(target.fit, self._map)

    def _predict(self, features: Tensor) -> Tensor:
        return self._map(features)

    def _parameters_moved(self) -> bool:
        return fingerprint([self._map.weight]) != self._before
