"""The attack that solves for the image: the linear estimate of least mean squared error, local to each activation.

`splitfed.attacks.local_gaussian` has the formula for fronts that draw nothing: what is on is an equation, what is off
an inequality. `splitfed.attacks.through_noise` has the one for fronts with noise. Ridge regression is the same
estimate with one Gaussian for all images (Kay 1993); what is gained is that the Gaussian is that of the images nearest
to the one sought, and that the front is known and not learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from splitfed.attacks.auxiliary import BATCH, Predict
from splitfed.attacks.base import Progress
from splitfed.attacks.candidates import candidates
from splitfed.attacks.inverter import ClosedForm, Target
from splitfed.attacks.local_gaussian import Settings
from splitfed.attacks.loss import leak_losses
from splitfed.attacks.posterior_mean import best_exponent
from splitfed.attacks.seen import Seen
from splitfed.attacks.through_noise import Temperature, ThroughNoise
from splitfed.attacks.through_relu import ThroughRelu, through_relu
from splitfed.errors import AttackError
from splitfed.options import Options

NEIGHBORS = (150, 75, 300)
"""Candidates for how many images the prior is local to; the first is what the others are tried from."""
SHARES = (0.3, 0.1)
"""Candidates for the share of the class's covariance in it."""
SLACKS = {True: (1e-3, 1e-5), False: (0.1, 0.3)}
"""Candidates for what an equation leaves open, where the front is affine before its ReLU, and where it is not."""
TEMPERATURES = (1.0, 2.0, 4.0)
"""Candidates for τ, how often the noise counts."""
TUNED_ON = 200
"""Validation images that these are chosen on, at most."""


class LmmseOptions(Options):
    """Options of `Lmmse`."""

    augmented_copies: int = Field(default=3, ge=0, le=64)
    """Mirrored and shifted copies of the auxiliary images in the prior, unless the defense is randomized."""
    augmented_copies_expensive: int = Field(default=0, ge=0, le=64)
    """The same for a front that is expensive to run."""
    batch_size: int = Field(default=64, ge=1)
    """Activations that are solved for at a time."""


class Lmmse(ClosedForm):
    """x̂ = m + C_xz·(C_zz + Σ)⁻¹·(z − μ) under a Gaussian prior of the attacker's images nearest to the one sought.

    Each unit of work tries one setting of the prior, on validation images, by PSNR and SSIM (`leak_losses`).
    """

    name = "lmmse"
    about = "closed form: solves the known front's equations under a Gaussian prior of its own nearest images"
    adaptivity = "adds the noise's covariance, known or measured"
    live = False
    faces_training = True
    Options = LmmseOptions
    options: LmmseOptions
    _search: Search | None

    def advance(self) -> Progress:
        target = self._begun
        if self._search is None:
            self._search = self._prepared(target)
        loss = self._search.advance()
        self._epochs += 1
        self._plateaued = self._search.finished
        return Progress(self._epochs, loss, self._search.loss, self._plateaued, finished=self._plateaued)

    def without(self, places: Tensor) -> Predict:
        if self._search is None:
            raise AttackError(f"{self.name}: advance() comes first")
        return self._search.without(places)

    def _start(self, target: Target) -> float:
        self._search = None
        return self._loss_on(target.validation, self._predict_start)

    def _prepared(self, target: Target) -> Search:
        options, knowledge = self.options, target.knowledge
        if knowledge.randomized:
            own = candidates(target, target.auxiliary.fit)
            noisy = ThroughNoise(own, best_exponent(own, target, batch=BATCH), options.batch_size)
            return Search(noisy, Temperature(TEMPERATURES[0]), {"value": TEMPERATURES[1:]}, target)
        copies = options.augmented_copies_expensive if knowledge.expensive else options.augmented_copies
        exact = through_relu(target, copies=copies, batch=options.batch_size)
        slacks = SLACKS[exact.affine is not None]
        axes = {"neighbors": NEIGHBORS[1:], "shared": SHARES[1:], "slack": slacks[1:]}
        return Search(exact, Settings(NEIGHBORS[0], SHARES[0], slacks[0]), axes, target)

    def _losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return leak_losses(predicted, targets, self._begun.auxiliary.shape)

    def _learned_loss(self) -> float:
        """On the validation images that the settings were chosen on: the prior knows those that it is made of."""
        return self._search.loss if self._search is not None else self._first_loss

    def _predict(self, seen: Seen) -> Tensor:
        return self._predict_start(seen) if self._search is None else self._search.predict(seen)

    def _parameters_moved(self) -> bool:
        return self._search is not None


class Search:
    """The best settings of an estimator, one axis after the other, on validation images.

    Args:
        estimate: what was seen and settings to pixels as rows.
        first: settings to begin with, a dataclass.
        axes: other values to try, by the name of the setting.
        target: whose validation images judge; at most `TUNED_ON` of them, evenly spaced.

    Attributes:
        loss: of the best settings so far.
        finished: whether all were tried.
    """

    def __init__(
        self, estimate: ThroughNoise | ThroughRelu, first: Any, axes: Mapping[str, Sequence[float]], target: Target
    ) -> None:
        self.loss = math.inf
        self._estimate = estimate
        self._best = first
        self._untried: list[dict[str, float]] = [{}, *({name: v} for name, values in axes.items() for v in values)]
        self._shape, validation = target.auxiliary.shape, target.validation
        chosen = torch.linspace(0, len(validation.seen) - 1, min(len(validation.seen), TUNED_ON)).long()
        self._seen, self._targets = validation.seen[chosen], validation.targets[chosen]

    @property
    def finished(self) -> bool:
        return not self._untried

    def advance(self) -> float:
        """Try the next settings; their loss."""
        trial = replace(self._best, **self._untried.pop(0))
        estimated = self._estimate(self._seen, trial)
        loss = float(leak_losses(estimated, self._targets, self._shape).mean())
        if loss < self.loss:
            self._best, self.loss = trial, loss
        return loss

    def without(self, places: Tensor) -> Predict:
        """The best settings so far, had the estimator not known these images of the fit part."""
        others, best = self._estimate.without(places), self._best
        return lambda seen: others(seen, best)

    def predict(self, seen: Seen) -> Tensor:
        """By the best settings so far: pixels as rows (n, p)."""
        return self._estimate(seen, self._best)
