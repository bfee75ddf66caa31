"""The attack that optimizes the image itself, through the front whose weights a participant holds.

He, Zhang and Lee 2019, "Model inversion attacks against collaborative inference"; the total variation as a prior on
images is that of Mahendran and Vedaldi 2015, "Understanding deep image representations by inverting them". They
start from a constant image; this starts from the best image that the attacks before it have, and knows how far off
that tends to be. A trained network says what images look like, the front what this one must have been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from splitfed.attacks.auxiliary import BATCH
from splitfed.attacks.base import Attack, Progress, images_of
from splitfed.attacks.descent import MOST_DIRECTIONS, Descent, Weights, error_directions
from splitfed.attacks.inverter import Inverter, Target
from splitfed.attacks.linear import mean_map
from splitfed.attacks.ridge import fit_to_front
from splitfed.attacks.seen import Seen
from splitfed.attacks.sparse import first_sparse_layer
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.metrics.fingerprint import fingerprint
from splitfed.options import Options
from splitfed.types import FitEvidence

Reconstruct = Callable[[Seen], Tensor]
"""What was seen of B images to images (B, C, H, W)."""

MISFITS = (1e-3, 3e-3, 3e-2, 1.0, 30.0)
"""Candidates for `Weights.misfit`, tried first, with the first of `VARIATIONS`."""
VARIATIONS = (3.0, 0.0, 1.0, 10.0)
"""Candidates for `Weights.variation`; all but the first are tried with the best misfit only."""
METRICS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (fast_psnr_db, fast_ssim)
REMEMBERED = 0.25
"""A start whose squared error on the images that it was fitted to is below this share of that on others knows these."""
TUNED_SHARE = 8
"""The weights are chosen on one image for so many that are reconstructed at most."""


ALL_IMAGES = 10**9
"""More than any run sends."""


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
        seen: with its noise.
    """

    pixels: Tensor
    seen: Seen


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
    caps: ClassVar[Mapping[str, int]] = {
        "steps": 240,
        "steps_sparse": 48,
        "most_images": ALL_IMAGES,
        "most_images_sparse": ALL_IMAGES,
    }
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
        if self._plateaued and not self._adds():
            self._best = Trial(self._best.weights, 0, self._best.loss)
        self._epochs += 1
        return Progress(self._epochs, trial.loss, self._best.loss, self._plateaued, finished=self._plateaued)

    def _adds(self) -> bool:
        """Whether the best weights help with images that they were not chosen on; if not, the start stays as it is."""
        before, after = self._start_of(self._judge.seen), self._images(self._judge.seen)
        return _loss(after, self._judge.pixels) < _loss(before, self._judge.pixels)

    def most_observations(self) -> int:
        return self.options.most_images_sparse if self._is_sparse else self.options.most_images

    def reconstruct(self, activation: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._images(self._begun.seen(activation, labels))

    def evidence(self) -> FitEvidence:
        """The losses are those of the images that the weights were chosen on, the scores those of others.

        Where few images are affordable, the start is scored on the whole validation part and what the optimization
        adds to it on those few: the difference varies far less from image to image than the score itself.
        """
        validation = self._begun.validation
        start = self._start_of(validation.seen)
        before, after = self._start_of(self._judge.seen), self._images(self._judge.seen)
        began = [float(metric(start, validation.targets.view_as(start)).mean()) for metric in METRICS]
        psnr, structure = (
            first + float((metric(after, self._judge.pixels) - metric(before, self._judge.pixels)).mean())
            for first, metric in zip(began, METRICS, strict=True)
        )
        return FitEvidence(
            first_loss=self._first_loss,
            last_loss=self._best.loss,
            parameters_moved=self._parameters_moved(),
            epochs=self._epochs,
            validation_psnr_db=psnr,
            validation_ssim=structure,
            plateaued=self._plateaued,
            start_psnr_db=began[0],
            start_ssim=began[1],
        )

    def _images(self, seen: Seen) -> Tensor:
        shape = self._begun.auxiliary.shape
        return torch.cat([self._optimize(batch) for batch in seen.split(self.options.batch_size)]).view(-1, *shape)

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
        untaught = mean(self._tune.seen.features).view_as(self._tune.pixels)
        return _loss(untaught, self._tune.pixels)

    def _prepare(self, target: Target) -> Descent:
        """Choose where to start, and learn what is wrong with it."""
        starts: list[Reconstruct] = [self._ridge_images, *(partial(_of_other, other) for other in self._others)]
        losses = [_loss(start(self._tune.seen), self._tune.pixels) for start in starts]
        best = min(range(len(starts)), key=losses.__getitem__)
        self._begin_at = starts[best]
        self._best = Trial(self._candidates[0], 0, losses[best])
        return Descent(
            target.knowledge.expected,
            self._directions(target),
            self._noise(target),
            float(target.fit.features.var(dim=0).mean()),
        )

    def _directions(self, target: Target) -> Tensor:
        """What is wrong with the start, as `error_directions` has it.

        One that looks its images up among the attacker's own, such as a posterior mean, knows those that it was fitted
        to: what is wrong with others then shows on the validation part alone.
        """
        chosen = torch.linspace(0, len(target.fit.seen) - 1, min(len(target.fit.seen), MOST_DIRECTIONS)).long()
        fitted = self._errors_of_start(target.fit.seen[chosen], target.fit.targets[chosen])
        held_out = self._errors_of_start(target.validation.seen, target.validation.targets)
        remembers = fitted.square().mean() < REMEMBERED * held_out.square().mean()
        return error_directions(held_out if remembers else fitted, held_out)

    def _errors_of_start(self, seen: Seen, targets: Tensor) -> Tensor:
        return self._start_of(seen).flatten(1) - targets

    def _choose_own_images(self, target: Target) -> None:
        """One half of the validation part to choose the weights on, the other to judge them by; no more than pays."""
        places = target.auxiliary.validation
        half = min(len(places) // 2, max(1, self.most_observations() // TUNED_SHARE))
        self._tune, self._judge = (self._own(target, part) for part in torch.split(places[: 2 * half], half))

    def _own(self, target: Target, places: Tensor) -> Own:
        return Own(target.auxiliary.pixels[places], target.as_tapped(target.observe(places)).seen)

    @torch.no_grad()
    def _noise(self, target: Target) -> Tensor:
        """The variance of the defense's noise on each feature, (d,), measured on the attacker's own images."""
        seen = self._tune.seen.rows
        if not target.knowledge.randomized:
            return torch.zeros(seen.shape[1])
        return (seen - target.knowledge.expected(self._tune.pixels).flatten(1)).square().mean(dim=0)

    def _try(self, descent: Descent, weights: Weights) -> Trial:
        steps = self.options.steps_sparse if self._is_sparse else self.options.steps
        path = descent.images(self._start_of(self._tune.seen), self._tune.seen.rows, weights, steps)
        losses = [_loss(images, self._tune.pixels) for images in path]
        best = min(range(len(losses)), key=losses.__getitem__)
        return Trial(weights, best, losses[best])

    def _optimize(self, seen: Seen) -> Tensor:
        """The best weights' images, (B, C, H, W)."""
        if self._descent is None:
            return self._start_of(seen)
        steps = self.options.steps_sparse if self._is_sparse else self.options.steps
        path = self._descent.images(self._start_of(seen), seen.rows, self._best.weights, steps)
        return next(islice(path, self._best.steps, None))

    @torch.no_grad()
    def _start_of(self, seen: Seen) -> Tensor:
        """The images to start from, (B, C, H, W)."""
        return torch.cat([self._begin_at(batch) for batch in seen.split(BATCH)])

    def _ridge_images(self, seen: Seen) -> Tensor:
        return self._ridge(seen).view(-1, *self._begun.auxiliary.shape)

    def _predict(self, seen: Seen) -> Tensor:
        """Where the descent starts."""
        return self._start_of(seen).flatten(1)

    def _parameters_moved(self) -> bool:
        return fingerprint([self._ridge.overall.weight]) != self._before


def _of_other(attack: Attack, seen: Seen) -> Tensor:
    return images_of(attack, seen.rows, seen.labels)


def _loss(images: Tensor, targets: Tensor) -> float:
    """1 − SSIM, by which the strongest attack is chosen, mean over images."""
    return 1 - float(fast_ssim(images, targets).mean())
