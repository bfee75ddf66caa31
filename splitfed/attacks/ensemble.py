"""The attack that sees what all others made: a network on their reconstructions, and a weighted mean over all of it.

Stacked generalization (Wolpert 1992): the network learns from what copies of the closed forms, fitted without an image,
make of that image (`splitfed.attacks.cross_fitting`). Networks would have to be trained anew for each fold; they come
in afterwards, in a mean whose few weights are chosen on validation images (`splitfed.attacks.selection`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from splitfed.attacks.augmentation import augment
from splitfed.attacks.auxiliary import Pairs, observe, predict_rows
from splitfed.attacks.base import Attack, Progress, images_of
from splitfed.attacks.cross_fitting import TEMPERATURES, CrossFitting, cross_fitting, folds_of
from splitfed.attacks.inverter import ClosedForm, Inverter, Target
from splitfed.attacks.loss import leak_losses
from splitfed.attacks.schedule import UNLIMITED_EPOCHS, Schedule
from splitfed.attacks.seen import Seen
from splitfed.attacks.selection import selected
from splitfed.attacks.stacked_network import Lesson, StackedNetwork, StackedTraining, corrected
from splitfed.errors import AttackError
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.metrics.fingerprint import fingerprint
from splitfed.options import Options
from splitfed.types import FitEvidence

MOST_NUMBERS = 2**28
"""Of all that the network learns from, in half precision: 512 MiB. Beyond, it learns from fewer draws."""
FEWEST_OBSERVATIONS = 1000
"""An attack that affords fewer is no input: the ensemble would afford no more."""


class EnsembleOptions(Options):
    """Options of `Ensemble`."""

    channels: int = Field(default=16, ge=1)
    """Maps of the U-Net at half the resolution; twice as many below."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Of Adam."""
    batch_size: int = Field(default=64, ge=1)
    max_epochs: int = Field(default=18, ge=1)
    """A training without a plateau by then ends with the learning rate at zero, and says so."""
    draws: int = Field(default=3, ge=1, le=100)
    """Of a randomized defense, learned from in turn."""
    augmented_copies: int = Field(default=2, ge=0, le=64)
    """Mirrored and shifted copies of the auxiliary images, learned from in turn, unless the defense is randomized."""
    augmented_copies_expensive: int = Field(default=0, ge=0, le=64)
    """The same for a front that is expensive to run."""


class Ensemble(Inverter):
    """Starts at the best image that the closed forms have, and adds to it what a network makes of them all.

    The first unit of work learns what the others make of the validation images; one for each fold follows, then
    epochs, and with the last of these the mean. That is kept only where it is better than the best of the others on
    validation images that its weights were not chosen on; if it is not, the best of the others is what is made.

    It affords as many observations as those that have a weight in the mean.
    """

    name = "ensemble"
    about = "a network on what the attacks before it made, by copies that never saw the image, and a weighted mean"
    adaptivity = "learns from fresh draws of the noise, and from closed forms that know its law"
    live = False
    caps: ClassVar[Mapping[str, int]] = {"max_epochs": UNLIMITED_EPOCHS}
    Options = EnsembleOptions
    options: EnsembleOptions
    _units: Iterator[Progress]
    _stack: CrossFitting | None = None
    _training: StackedTraining | None = None

    def __init__(self, options: EnsembleOptions) -> None:
        super().__init__(options)
        self._others: Sequence[Attack] = ()

    def build_on(self, others: Sequence[Attack]) -> None:
        self._others = others

    def advance(self) -> Progress:
        if self._target is None:
            raise AttackError(f"{self.name}: begin() comes first")
        return next(self._units)

    def _start(self, target: Target) -> float:
        self._units = self._work(target)
        self._stack = self._training = None
        self._started = self._made = target.class_means[target.validation.labels]
        return self._validation_loss(self._made)

    def _work(self, target: Target) -> Iterator[Progress]:
        """All units of work; the last one is finished."""
        draws = self._draws(target)
        stack = self._prepare(target, _features(target, draws))
        least = self._validation_loss(self._started)
        yield self._progress(self._first_loss, least)
        maps = [_empty_maps(draw, stack.whole.maps) for draw in draws]
        for places in folds_of(len(target.fit.seen)):
            self._learn_of_fold(stack, draws, maps, places)
            yield self._progress(least, least)
        lessons = [Lesson(seen, draw.labels, draw.targets) for seen, draw in zip(maps, draws, strict=True)]
        training = self._new_training(target, stack)
        finished = False
        while not finished:
            train_loss, validation_loss = training.epoch(lessons[self._epochs % len(lessons)])
            finished = training.schedule.finished
            if finished:
                self._plateaued = training.schedule.plateaued
                self._blend(training)
            yield self._progress(train_loss, validation_loss, finished=finished)

    def _progress(self, train_loss: float, validation_loss: float, *, finished: bool = False) -> Progress:
        self._epochs += 1
        return Progress(self._epochs, train_loss, validation_loss, self._plateaued, finished)

    def _draws(self, target: Target) -> list[Pairs]:
        """The draws of the noise, or the copies, of the fit part that it learns from."""
        options, knowledge, fit = self.options, target.knowledge, target.fit
        copies = options.augmented_copies_expensive if knowledge.expensive else options.augmented_copies
        wanted = options.draws if knowledge.randomized else 1 + copies
        most = MOST_NUMBERS // ((len(self._closed_forms()) + len(TEMPERATURES) + 2) * fit.targets.numel())
        pixels, drawn = target.auxiliary.pixels[target.auxiliary.fit], [fit]
        for _ in range(1, min(wanted, max(1, most))):
            fresh = pixels if knowledge.randomized else augment(pixels, target.generator)
            drawn.append(observe(knowledge, fresh, fit.labels, target.generator))
        return [target.as_tapped(pairs) for pairs in drawn]

    def _prepare(self, target: Target, draws: Sequence[Tensor]) -> CrossFitting:
        """Choose where the network starts, and which of the others is best: on the validation part."""
        stack, seen = cross_fitting(self._closed_forms(), target, draws), target.validation.seen
        made = predict_rows(stack.whole.made, seen)
        self._choices = [
            *made[:, : stack.whole.choices].unbind(dim=1),
            *(_rows(each, seen) for each in self._networks()),
        ]
        losses = [self._validation_loss(each) for each in self._choices]
        self._best = min(range(len(losses)), key=losses.__getitem__)
        self._started = self._made = self._choices[self._best]
        self._weights = F.one_hot(torch.tensor(1 + self._best), 1 + len(losses)).float()
        self._stack = stack.starting_at(min(range(stack.whole.choices), key=losses.__getitem__))
        self._validation = Lesson(self._stack.whole.with_misfit(made, seen), seen.labels, target.validation.targets)
        return self._stack

    def _learn_of_fold(
        self, stack: CrossFitting, draws: Sequence[Pairs], maps: Sequence[Tensor], places: Tensor
    ) -> None:
        """Have what copies that never saw the images of a fold make of them."""
        inputs = stack.without(places, _features(stack.target, draws))
        for draw, of_draw in zip(draws, maps, strict=True):
            of_draw[places] = predict_rows(inputs, draw.seen[places]).to(of_draw.dtype)

    def _new_training(self, target: Target, stack: CrossFitting) -> StackedTraining:
        options, auxiliary, whole = self.options, target.auxiliary, stack.whole
        network = StackedNetwork(
            whole.maps,
            whole.start,
            auxiliary.classes,
            auxiliary.shape,
            channels=options.channels,
            generator=target.generator,
        )
        self._before = fingerprint(network.state_dict())
        start_loss = self._validation_loss(self._validation.maps[:, whole.start])
        return StackedTraining(
            network,
            self._validation,
            Schedule(options.learning_rate, options.max_epochs, start_loss=start_loss),
            auxiliary.shape,
            batch_size=options.batch_size,
            generator=target.generator,
        )

    def _blend(self, training: StackedTraining) -> None:
        """Choose the weights of the mean on every other validation image; the rest says whether it is kept."""
        self._training, held_out = training, self._validation
        made = corrected(training.weights.best, held_out.maps, held_out.labels)
        library = torch.stack([made, *self._choices])
        tune, judge = (torch.arange(first, len(made), 2) for first in (0, 1))

        def loss(images: Tensor, places: Tensor) -> float:
            return float(self._losses(images, held_out.targets[places]).mean())

        weights = selected(library[:, tune], 1 + self._best, lambda images: loss(images, tune))
        mean = torch.einsum("m,mnp->np", weights, library)
        if loss(mean[judge], judge) < loss(self._started[judge], judge):
            self._weights, self._made = weights, mean

    def most_observations(self) -> int | None:
        if self._target is None or self._stack is None:
            return None
        first = 1 + self._stack.whole.choices
        weighted = [each for each, weight in zip(self._networks(), self._weights[first:], strict=True) if weight > 0]
        least = min(map(_affords, [*self._closed_forms(), *weighted]), default=math.inf)
        return None if math.isinf(least) else int(least)

    def _closed_forms(self) -> list[ClosedForm]:
        return [attack for attack in self._usable() if isinstance(attack, ClosedForm)]

    def _usable(self) -> list[Attack]:
        return [attack for attack in self._others if _affords(attack) >= FEWEST_OBSERVATIONS]

    def _networks(self) -> list[Attack]:
        closed = self._closed_forms()
        return [attack for attack in self._usable() if attack not in closed]

    def _predict(self, seen: Seen) -> Tensor:
        if self._stack is None:
            return self._begun.class_means[seen.labels]
        maps = self._stack.whole(seen)
        total = torch.zeros_like(maps[:, 0])
        for number in torch.nonzero(self._weights)[:, 0].tolist():
            total += self._weights[number] * self._member(number, maps, seen)
        return total

    def _member(self, number: int, maps: Tensor, seen: Seen) -> Tensor:
        """What the weight of this number is of, rows (n, p): the network, a map that it sees, or another attack."""
        assert self._stack is not None
        if number == 0:
            assert self._training is not None, "it has a weight only once it is trained"
            return corrected(self._training.weights.best, maps, seen.labels)
        choices = self._stack.whole.choices
        if number <= choices:
            return maps[:, number - 1]
        return _rows(self._networks()[number - 1 - choices], seen)

    def _losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return leak_losses(predicted, targets, self._begun.auxiliary.shape)

    def _validation_loss(self, images: Tensor) -> float:
        return float(self._losses(images, self._begun.validation.targets).mean())

    def _learned_loss(self) -> float:
        """On the validation part, as all that it is chosen by."""
        return self._validation_loss(self._made)

    def evidence(self) -> FitEvidence:
        """The scores are those of the whole validation part; the start is the best of all other attacks."""
        started, made = (self._scores(images) for images in (self._started, self._made))
        return FitEvidence(
            first_loss=self._first_loss,
            last_loss=self._learned_loss(),
            parameters_moved=self._parameters_moved(),
            epochs=self._epochs,
            validation_psnr_db=made[0],
            validation_ssim=made[1],
            plateaued=self._plateaued,
            start_psnr_db=started[0],
            start_ssim=started[1],
        )

    def _scores(self, rows: Tensor) -> tuple[float, float]:
        images = rows.view(-1, *self._begun.auxiliary.shape)
        targets = self._begun.validation.targets.view_as(images)
        return float(fast_psnr_db(images, targets).mean()), float(fast_ssim(images, targets).mean())

    def _parameters_moved(self) -> bool:
        return self._training is not None and fingerprint(self._training.weights.average.state_dict()) != self._before


def _features(target: Target, draws: Sequence[Pairs]) -> list[Tensor]:
    """Features of the fit part itself, (n, d): of all draws of a randomized defense, without copies of images."""
    return [draw.features for draw in draws] if target.knowledge.randomized else [target.fit.features]


def _empty_maps(pairs: Pairs, maps: int) -> Tensor:
    """Room for what the network sees of each image; in half precision, which is finer than 8 bits of gray levels."""
    return torch.empty(len(pairs.seen), maps, pairs.targets.shape[1], dtype=torch.float16)


def _affords(attack: Attack) -> float:
    """How many observations it reconstructs at most."""
    most = attack.most_observations()
    return math.inf if most is None else most


def _rows(attack: Attack, seen: Seen) -> Tensor:
    return images_of(attack, seen.rows, seen.labels).flatten(1)
