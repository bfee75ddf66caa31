"""The attack that optimizes the image itself, through the front whose weights a participant holds.

He, Zhang and Lee 2019, "Model inversion attacks against collaborative inference"; the total variation as a prior on
images is that of Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them". They
start from a constant image; this starts from the best image that the attacks before it have, and knows how far off
that tends to be. A trained network says what images look like, the front what this one must have been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from pydantic import Field
from torch import Tensor

from splitfed.attacks.auxiliary import BATCH, Pairs, predict_rows
from splitfed.attacks.base import Attack, Progress
from splitfed.attacks.descent import Descent, Weights, error_directions
from splitfed.attacks.inverter import Inverter, Target
from splitfed.attacks.linear import mean_map
from splitfed.attacks.ridge import fit_to_front
from splitfed.attacks.sparse import first_sparse_layer
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.metrics.fingerprint import fingerprint
from splitfed.options import Options
from splitfed.types import FitEvidence

Reconstruct = Callable[[Tensor], Tensor]
"""Activations (B, ...) to images (B, C, H, W)."""

MISFITS = (1e-3, 3e-3, 3e-2, 1.0, 30.0)
"""Candidates for `Weights.misfit`, tried first, with the first of `VARIATIONS`."""
VARIATIONS = (3.0, 0.0, 1.0, 10.0)
"""Candidates for `Weights.variation`; all but the first are tried with the best misfit only."""
TUNED_SHARE = 8
"""The weights are chosen on one image for so many that are reconstructed at most."""


class WhiteboxOptions(Options):
    """Options of `Whitebox`. Those on sparse fronts hold for every front with a sparse coding layer, through which a
    step costs a hundred times as much."""

    steps: int = Field(default=60, ge=1)
    """Most steps of Adam; how many are taken is chosen on validation images."""
    steps_sparse: int = Field(default=12, ge=1)
    """The same through a sparse front."""
    most_images: int = Field(default=6000, ge=16)
    """Observations that it reconstructs at most, evenly spaced; the scores say of how many they are."""
    most_images_sparse: int = Field(default=512, ge=16)
    """The same through a sparse front."""
    batch_size: int = Field(default=256, ge=1)
    """Images that are optimized at a time."""
    ridge_draws: int = Field(default=8, ge=1, le=100)
    """Draws of a randomized defense for the ridge regression that it starts from where no other attack is better."""


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
        steps: after how many the loss was least; 0 leaves the start as it is.
        loss: then, 1 − SSIM, mean over images.
    """

    weights: Weights
    steps: int
    loss: float


class Whitebox(Inverter):
    """From the best image so far, descend to one that the front maps to what was observed (`splitfed.attacks.descent`).

    The start is the reconstruction of one of the attacks that were mounted before this one, or ridge regression's:
    whichever does best on one half of the validation images. Each unit of work tries weights of the priors on that
    half, and notes after how many steps they did best. The other half says how good the best weights are.
    """

    name = "whitebox"
    about = "starts at the best of ridge and the attacks before it, then optimizes each image through the known front"
    adaptivity = "compares with the front's mean output, and trusts each feature as far as its measured noise allows"
    Options = WhiteboxOptions
    options: WhiteboxOptions
    _best: Trial
    _begin_at: Reconstruct
    _descent: Descent | None
    _candidates: list[Weights]
    _tried: int

    def __init__(self, options: WhiteboxOptions) -> None:
        super().__init__(options)
        self._others: Sequence[Attack] = ()

    def build_on(self, others: Sequence[Attack]) -> None:
        self._others = others

    def advance(self) -> Progress:
        if self._descent is None:  # not earlier: by now the others have learned
            self._descent = self._prepare(self._begun)
        trial = self._try(self._descent, self._candidates[self._tried])
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
        batches = torch.split(activation.flatten(1).float(), self.options.batch_size)
        return torch.cat([self._optimize(batch) for batch in batches]).view(-1, *shape)

    def evidence(self) -> FitEvidence:
        """The losses are those of the images that the weights were chosen on, the scores those of others.

        Where few images are affordable, the start is scored on the whole validation part and what the optimization
        adds to it on those few: the difference varies far less from image to image than the score itself.
        """
        validation = self._begun.validation
        start = self._start_of(validation.features)
        before, after = self._start_of(self._judge.activation), self.reconstruct(self._judge.activation)
        psnr, structure = (
            float(metric(start, validation.targets.view_as(start)).mean())
            + float((metric(after, self._judge.pixels) - metric(before, self._judge.pixels)).mean())
            for metric in (fast_psnr_db, fast_ssim)
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

    def _start(self, target: Target) -> float:
        knowledge = target.knowledge
        self._is_sparse = knowledge.expensive or first_sparse_layer(knowledge.front) is not None
        self._ridge = fit_to_front(target, draws=self.options.ridge_draws)
        mean = mean_map(target.fit.features, target.fit.targets)
        self._before = fingerprint([mean.weight])
        self._choose_own_images(target)
        self._begin_at, self._descent = self._ridge_images, None
        self._candidates = [Weights(misfit, VARIATIONS[0]) for misfit in MISFITS]
        self._tried = 0
        untaught = predict_rows(mean, knowledge.features(self._tune.activation)).view_as(self._tune.pixels)
        return _loss(untaught, self._tune.pixels)

    def _prepare(self, target: Target) -> Descent:
        """Choose where to start, and learn what is wrong with it."""
        starts = [self._ridge_images, *(other.reconstruct for other in self._others)]
        losses = [_loss(start(self._tune.activation), self._tune.pixels) for start in starts]
        best = min(range(len(starts)), key=losses.__getitem__)
        self._begin_at = starts[best]
        self._best = Trial(self._candidates[0], 0, losses[best])
        return Descent(
            target.knowledge.expected,
            error_directions(*(self._errors_of_start(pairs) for pairs in (target.fit, target.validation))),
            self._noise(target),
            float(target.fit.features.var(dim=0).mean()),
        )

    def _errors_of_start(self, pairs: Pairs) -> Tensor:
        return self._start_of(pairs.features).flatten(1) - pairs.targets

    def _choose_own_images(self, target: Target) -> None:
        """One half of the validation part to choose the weights on, the other to judge them by; no more than pays."""
        places = target.auxiliary.validation
        half = min(len(places) // 2, max(1, self.most_observations() // TUNED_SHARE))
        self._tune, self._judge = (self._own(target, part) for part in torch.split(places[: 2 * half], half))

    def _own(self, target: Target, places: Tensor) -> Own:
        pixels = target.auxiliary.pixels[places]
        with torch.no_grad():
            return Own(pixels, target.knowledge.observe(pixels, target.generator).flatten(1).float())

    @torch.no_grad()
    def _noise(self, target: Target) -> Tensor:
        """The variance of the defense's noise on each feature, (d,), measured on the attacker's own images."""
        seen = self._tune.activation
        if not target.knowledge.randomized:
            return torch.zeros(seen.shape[1])
        return (seen - target.knowledge.expected(self._tune.pixels).flatten(1)).square().mean(dim=0)

    def _try(self, descent: Descent, weights: Weights) -> Trial:
        steps = self.options.steps_sparse if self._is_sparse else self.options.steps
        path = descent.images(self._start_of(self._tune.activation), self._tune.activation, weights, steps)
        losses = [_loss(images, self._tune.pixels) for images in path]
        best = min(range(len(losses)), key=losses.__getitem__)
        return Trial(weights, best, losses[best])

    def _optimize(self, rows: Tensor) -> Tensor:
        """The best weights' images for these activations, (B, d)."""
        if self._descent is None:
            return self._start_of(rows)
        steps = self.options.steps_sparse if self._is_sparse else self.options.steps
        path = self._descent.images(self._start_of(rows), rows, self._best.weights, steps)
        return next(islice(path, self._best.steps, None))

    @torch.no_grad()
    def _start_of(self, rows: Tensor) -> Tensor:
        """The images to start from for these activations, (B, d)."""
        return torch.cat([self._begin_at(batch) for batch in torch.split(rows, BATCH)])

    def _ridge_images(self, rows: Tensor) -> Tensor:
        features = self._begun.knowledge.features(rows)
        return predict_rows(self._ridge, features).view(-1, *self._begun.auxiliary.shape)

    def _predict(self, features: Tensor) -> Tensor:
        """Where the descent starts."""
        return self._start_of(features).flatten(1)

    def _parameters_moved(self) -> bool:
        return fingerprint([self._ridge.weight]) != self._before


def _loss(images: Tensor, targets: Tensor) -> float:
    """1 − SSIM, by which the strongest attack is chosen, mean over images."""
    return 1 - float(fast_ssim(images, targets).mean())
