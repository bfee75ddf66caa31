"""The attack that optimises the image itself, through the front whose weights a participant holds.

He, Zhang and Lee 2019, "Model inversion attacks against collaborative inference"; the total variation as a prior on
images is that of Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them". They
start from a constant image; this starts from ridge regression's, and knows how far off that tends to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import torch
from pydantic import Field
from torch import Tensor

from splitfed.attacks.auxiliary import Predict, predict_rows
from splitfed.attacks.base import FitEvidence, Progress
from splitfed.attacks.descent import Descent, Weights, error_directions
from splitfed.attacks.inverter import Inverter, Session
from splitfed.attacks.linear import mean_map
from splitfed.attacks.ridge import fit_to_front
from splitfed.attacks.sparse import first_sparse_layer
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.quality import psnr_db, ssim
from splitfed.options import Options

MISFITS = (1e-3, 3e-2, 1.0, 30.0)
"""Candidates for `Weights.misfit`, tried first, with the first of `VARIATIONS`."""
VARIATIONS = (3.0, 0.0, 10.0)
"""Candidates for `Weights.variation`; all but the first are tried with the best misfit only."""
TUNED_SHARE = 8
"""The weights are chosen on one image for so many that are reconstructed at most."""


class WhiteboxOptions(Options):
    """Options of `Whitebox`. Those on sparse fronts hold for every front with a sparse coding layer, through which a
    step costs a hundred times as much."""

    steps: int = Field(default=60, ge=1)
    """Most steps of Adam; how many are taken is chosen on the validation images."""
    steps_sparse: int = Field(default=12, ge=1)
    """The same through a sparse front."""
    most_images: int = Field(default=6000, ge=16)
    """Observations that it reconstructs at most, evenly spaced; the scores say of how many they are."""
    most_images_sparse: int = Field(default=512, ge=16)
    """The same through a sparse front."""
    batch: int = Field(default=256, ge=1)
    """Images that are optimised at a time."""
    ridge_draws: int = Field(default=8, ge=1, le=100)
    """Draws of a randomised defense for the ridge regression that it starts from."""


@dataclass(frozen=True)
class Own:
    """Images of the attacker's own, and one draw of what the tap would see of them.

    Attributes:
        pixels: (N, C, H, W).
        activation: (N, d), with its noise.
    """

    pixels: Tensor
    activation: Tensor


@dataclass(frozen=True)
class Trial:
    """What some weights came to on the images that they are chosen on.

    Attributes:
        weights: of the priors.
        steps: after how many the loss was least; 0 leaves ridge as it is.
        loss: then, 1 − SSIM, mean over images.
    """

    weights: Weights
    steps: int
    loss: float


class Whitebox(Inverter):
    """From ridge's image, descend to one that the front maps to what was observed (`splitfed.attacks.descent`).

    Each unit of work tries weights of the priors on one half of the validation images, and notes after how many
    steps they did best. The other half says how good the best weights are.
    """

    name = "whitebox"
    about = "starts at ridge, then optimises each image through the known front under a total variation prior"
    adaptivity = "compares with the front's mean output, and trusts each feature as far as its measured noise allows"
    Options = WhiteboxOptions
    options: WhiteboxOptions
    _best: Trial

    def advance(self) -> Progress:
        trial = self._try(self._candidates[self._tried])
        self._tried += 1
        self._best = min(self._best, trial, key=lambda t: t.loss)
        if self._tried == len(MISFITS):
            misfit = self._best.weights.misfit
            self._candidates += [Weights(misfit, variation) for variation in VARIATIONS[1:]]
        self._plateaued = self._tried == len(self._candidates)
        self._epochs += 1
        return Progress(self._epochs, trial.loss, self._best.loss, self._plateaued, finished=self._plateaued)

    def most_observations(self) -> int:
        return self.options.most_images_sparse if self._is_sparse else self.options.most_images

    def reconstruct(self, activation: Tensor) -> Tensor:
        shape = self._begun.auxiliary.shape
        batches = torch.split(activation.flatten(1).float(), self.options.batch)
        return torch.cat([self._optimise(batch) for batch in batches]).view(-1, *shape)

    def evidence(self) -> FitEvidence:
        """The losses are those of the images that the weights were chosen on, the scores those of others.

        Where few images are affordable, ridge is scored on the whole validation part and what the optimisation
        adds to it on those few: the difference varies far less from image to image than the score itself.
        """
        validation = self._begun.validation
        ridge = self._images_of(self._ridge, validation.features)
        before, after = self._start_of(self._judge.activation), self.reconstruct(self._judge.activation)
        psnr, structure = (
            float(metric(ridge, validation.targets.view_as(ridge)).mean())
            + float((metric(after, self._judge.pixels) - metric(before, self._judge.pixels)).mean())
            for metric in (psnr_db, ssim)
        )
        return FitEvidence(
            first_loss=self._first_loss,
            last_loss=self._best.loss,
            parameters_moved=self._parameters_moved(),
            epochs=self._epochs,
            validation_psnr_db=psnr,
            validation_ssim=structure,
            plateaued=self._plateaued,
        )

    def _start(self, session: Session) -> float:
        knowledge = session.knowledge
        self._is_sparse = knowledge.dear or first_sparse_layer(knowledge.front) is not None
        self._ridge = fit_to_front(session, draws=self.options.ridge_draws)
        mean = mean_map(session.fit.features, session.fit.targets)
        self._before = fingerprint([mean.weight])
        self._choose_own_images(session)
        self._descent = Descent(
            knowledge.expected,
            error_directions(self._ridge, session.fit, session.validation),
            self._noise(session),
            float(session.fit.features.var(dim=0).mean()),
        )
        self._candidates = [Weights(misfit, VARIATIONS[0]) for misfit in MISFITS]
        self._tried = 0
        start = self._start_of(self._tune.activation)
        self._best = Trial(self._candidates[0], 0, _loss(start, self._tune.pixels))
        untaught = self._images_of(mean, knowledge.features(self._tune.activation))
        return _loss(untaught, self._tune.pixels)

    def _choose_own_images(self, session: Session) -> None:
        """One half of the validation part to choose the weights on, the other to judge them by; no more than pays."""
        places = session.auxiliary.validation
        half = min(len(places) // 2, max(1, self.most_observations() // TUNED_SHARE))
        self._tune, self._judge = (self._own(session, part) for part in torch.split(places[: 2 * half], half))

    def _own(self, session: Session, places: Tensor) -> Own:
        pixels = session.auxiliary.pixels[places]
        with torch.no_grad():
            return Own(pixels, session.knowledge.observe(pixels, session.generator).flatten(1).float())

    @torch.no_grad()
    def _noise(self, session: Session) -> Tensor:
        """The variance of the defense's noise on each feature, (d,), measured on the attacker's own images."""
        seen = self._tune.activation
        if not session.knowledge.randomised:
            return torch.zeros(seen.shape[1])
        return (seen - session.knowledge.expected(self._tune.pixels).flatten(1)).square().mean(dim=0)

    def _try(self, weights: Weights) -> Trial:
        steps = self.options.steps_sparse if self._is_sparse else self.options.steps
        path = self._descent.images(self._start_of(self._tune.activation), self._tune.activation, weights, steps)
        losses = [_loss(images, self._tune.pixels) for images in path]
        best = min(range(len(losses)), key=losses.__getitem__)
        return Trial(weights, best, losses[best])

    def _optimise(self, rows: Tensor) -> Tensor:
        """The best weights' images for these activations, (B, d)."""
        steps = self.options.steps_sparse if self._is_sparse else self.options.steps
        path = self._descent.images(self._start_of(rows), rows, self._best.weights, steps)
        return next(islice(path, self._best.steps, None))

    def _start_of(self, rows: Tensor) -> Tensor:
        """Ridge's images for these activations, (B, d)."""
        return self._images_of(self._ridge, self._begun.knowledge.features(rows))

    def _images_of(self, predict: Predict, features: Tensor) -> Tensor:
        return predict_rows(predict, features).view(-1, *self._begun.auxiliary.shape)

    def _predict(self, features: Tensor) -> Tensor:
        """Where the descent starts."""
        return self._ridge(features)

    def _parameters_moved(self) -> bool:
        return fingerprint([self._ridge.weight]) != self._before


def _loss(images: Tensor, targets: Tensor) -> float:
    """1 − SSIM, by which the strongest attack is chosen, mean over images."""
    return 1 - float(ssim(images, targets).mean())
