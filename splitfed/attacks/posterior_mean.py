"""The attack that needs no training: the posterior mean over the attacker's own images.

With the attacker's images x₁ … x_M of the label as the prior, the estimate of least squared error is

    x̂(z) = Σⱼ wⱼ·xⱼ,   w = softmax(β · log p(z | front(xⱼ)))

The prior is empirical (Robbins 1956, "An empirical Bayes approach to statistics"), and the estimate is that of Nadaraya
and Watson (both 1964) with the defense's noise as the kernel. At β = 1 and with the private images in place of the
attacker's it is Bayes' estimate, which no attack can beat in squared error. A private image is not among the
attacker's, so that it lies apart from each of them by more than the noise, and the likelihood is too sure of itself: β
tempers it (Grünwald 2012, "The safe Bayesian"), and is fitted on held-out images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from splitfed.attacks.auxiliary import Predict, others_than
from splitfed.attacks.base import Progress
from splitfed.attacks.candidates import Candidates, candidates
from splitfed.attacks.inverter import ClosedForm, Target
from splitfed.attacks.loss import leak_losses
from splitfed.attacks.seen import Seen
from splitfed.errors import AttackError
from splitfed.options import Options

EXPONENTS = tuple(10.0 ** (exponent / 4) for exponent in range(-16, 9))
"""Candidates for β, from 1e-4 to 1e2; at 0 the estimate is the mean of the class."""


class PosteriorMeanOptions(Options):
    """Options of `PosteriorMean`."""

    batch_size: int = Field(default=512, ge=1)
    """Activations that are compared with all candidates at a time."""


class PosteriorMean(ClosedForm):
    """x̂(z) = Σⱼ wⱼ·xⱼ over the attacker's images of the label, w = softmax(β·log p(z | front(xⱼ))).

    The candidates are the fit part; β is what does best on the validation part, by PSNR and SSIM (`leak_losses`).
    """

    name = "posterior_mean"
    about = "closed form: the mean of its own images, weighted by how likely each is to have given the activation"
    adaptivity = "weighs by the likelihood of the defense's noise, known or measured"
    faces_training = True
    Options = PosteriorMeanOptions
    options: PosteriorMeanOptions
    _candidates: Candidates | None
    _exponent: float

    def advance(self) -> Progress:
        target = self._begun
        own = candidates(target, target.auxiliary.fit)
        self._candidates, self._exponent = own, best_exponent(own, target, batch=self.options.batch_size)
        self._epochs += 1
        self._plateaued = True
        loss = self._learned_loss()
        return Progress(self._epochs, loss, loss, plateaued=True, finished=True)

    def without(self, places: Tensor) -> Predict:
        own = self._known
        others = own[others_than(places, len(own))]
        exponents, batch = [self._exponent], self.options.batch_size
        return lambda seen: posterior_means(others, seen, exponents, batch=batch)[0]

    def _start(self, target: Target) -> float:
        self._exponent = 0.0
        self._candidates = None
        return self._loss_on(target.validation, self._predict_start)

    def _losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return leak_losses(predicted, targets, self._begun.auxiliary.shape)

    def _learned_loss(self) -> float:
        """On the validation part: among the candidates each finds itself."""
        return self._loss_on(self._begun.validation, self._predict)

    def _predict(self, seen: Seen) -> Tensor:
        if self._candidates is None:
            return self._predict_start(seen)
        return posterior_means(self._candidates, seen, [self._exponent], batch=self.options.batch_size)[0]

    @property
    def _known(self) -> Candidates:
        if self._candidates is None:
            raise AttackError(f"{self.name}: advance() comes first")
        return self._candidates

    def _parameters_moved(self) -> bool:
        return self._exponent > 0


def posterior_means(own: Candidates, seen: Seen, exponents: Sequence[float], *, batch: int) -> list[Tensor]:
    """The weighted means for each exponent, pixels as rows (n, p)."""
    means = [seen.rows.new_empty(len(seen), own.images.shape[1]) for _ in exponents]
    for places, of_class in own.by_class(seen, batch):
        scores = of_class.scores(seen[places])
        for mean, exponent in zip(means, exponents, strict=True):
            mean[places] = torch.softmax(exponent * scores, dim=1) @ of_class.images
    return means


def best_exponent(own: Candidates, target: Target, *, batch: int) -> float:
    """The β of `EXPONENTS` that does best on the validation part."""
    held_out = target.validation
    means = posterior_means(own, held_out.seen, EXPONENTS, batch=batch)
    errors = [float(leak_losses(mean, held_out.targets, target.auxiliary.shape).mean()) for mean in means]
    best: float = min(zip(errors, EXPONENTS, strict=True))[1]
    return best
