"""What the attacks share that learn a map from one activation to one image."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from splitfed.attacks.auxiliary import Auxiliary, Pairs, Predict, observe, predict_rows, split_auxiliary
from splitfed.attacks.base import Attack
from splitfed.attacks.label_guess import LabelGuess, fit_label_guess
from splitfed.attacks.seen import Seen
from splitfed.errors import AttackError
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.types import FitEvidence, Knowledge


@dataclass(frozen=True)
class Target:
    """One front, and what the attacker prepared to learn from it.

    Attributes:
        knowledge: the front and the auxiliary images.
        generator: all of the attack's randomness with this front.
        auxiliary: the images and their split.
        fit: pairs to learn from; of a randomized defense, one draw.
        validation: pairs to judge by, one draw that stays; their labels are what the attack would have of others:
            guessed where labels do not travel in clear.
    """

    knowledge: Knowledge
    generator: torch.Generator
    auxiliary: Auxiliary
    fit: Pairs
    validation: Pairs

    @cached_property
    def class_means(self) -> Tensor:
        """The mean image of each class, as rows (K, C·H·W), over the fit part; of a class without any, over all."""
        means = self.fit.targets.mean(dim=0).repeat(self.auxiliary.classes, 1)
        for label in torch.unique(self.fit.labels).tolist():
            means[label] = self.fit.targets[self.fit.labels == label].mean(dim=0)
        return means

    def redraw_fit(self) -> Pairs:
        """The fit part again: a fresh draw if the defense is randomized, else the same pairs."""
        if not self.knowledge.randomized:
            return self.fit
        return self.observe(self.auxiliary.fit)

    def observe(self, places: Tensor) -> Pairs:
        """A draw of what the tap would see of the auxiliary images at these places, with their own labels."""
        own = self.auxiliary
        return observe(self.knowledge, own.pixels[places], own.labels[places], self.generator)

    def as_tapped(self, pairs: Pairs) -> Pairs:
        """The same with what the attack would have in place of others' labels: a guess where they are not in clear."""
        if self.knowledge.labels_in_clear:
            return pairs
        return replace(pairs, seen=replace(pairs.seen, labels=self.guess(pairs.features)))

    @cached_property
    def guess(self) -> LabelGuess:
        """What says of an activation which label it has, learned from the fit part."""
        return fit_label_guess(self.fit.features, self.fit.labels, self.auxiliary.classes)

    def seen(self, activation: Tensor, labels: Tensor | None) -> Seen:
        """Activations (B, ...) with the labels that were tapped, or with guessed ones."""
        rows = activation.flatten(1).float()
        features = self.knowledge.features(rows)
        return Seen(rows, features, self.guess(features) if labels is None else labels)


class Inverter(Attack):
    """An attack that learns a map from what is seen of an image, activation and label, to its pixels."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._target: Target | None = None
        self._epochs = 0
        self._plateaued = False
        self._first_loss = float("nan")

    def begin(self, knowledge: Knowledge, generator: torch.Generator) -> None:
        before = self._target.auxiliary if self._target else None
        auxiliary = split_auxiliary(knowledge, before=before)
        self._target = _prepared(knowledge, auxiliary, generator)
        self._plateaued = False
        self._first_loss = self._start(self._target)

    def reconstruct(self, activation: Tensor, labels: Tensor | None = None) -> Tensor:
        seen = self._begun.seen(activation, labels)
        return predict_rows(self._predict, seen).clamp(0, 1).view(-1, *self._begun.auxiliary.shape)

    def evidence(self) -> FitEvidence:
        start_psnr_db, start_ssim = self._validated(self._predict_start)
        psnr_db, ssim = self._validated(self._predict)
        return FitEvidence(
            first_loss=self._first_loss,
            last_loss=self._learned_loss(),
            parameters_moved=self._parameters_moved(),
            epochs=self._epochs,
            validation_psnr_db=psnr_db,
            validation_ssim=ssim,
            plateaued=self._plateaued,
            start_psnr_db=start_psnr_db,
            start_ssim=start_ssim,
        )

    def _learned_loss(self) -> float:
        """The attack's own loss after the last unit of work, on what `_start` took it of: here the fit part."""
        return self._loss_on(self._begun.fit, self._predict_last)

    def _validated(self, predict: Predict) -> tuple[float, float]:
        """PSNR in dB and SSIM of a predictor on the validation part, means over images."""
        target = self._begun
        images = predict_rows(predict, target.validation.seen).view(-1, *target.auxiliary.shape)
        originals = target.validation.targets.view_as(images)
        return float(fast_psnr_db(images, originals).mean()), float(fast_ssim(images, originals).mean())

    @property
    def _begun(self) -> Target:
        if self._target is None:
            raise AttackError(f"{self.name}: begin() comes first")
        return self._target

    @abstractmethod
    def _start(self, target: Target) -> float:
        """Prepare for this front; the loss before any learning, on the fit part or what else `_learned_loss` is of."""

    def _losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """The attack's own loss per image, (B,), of pixels as rows: here the mean squared error."""
        return (predicted - targets).square().mean(dim=1)

    @torch.no_grad()
    def _loss_on(self, pairs: Pairs, predict: Predict) -> float:
        """The attack's own loss, mean over images."""
        return float(self._losses(predict_rows(predict, pairs.seen), pairs.targets).mean())

    @abstractmethod
    def _predict(self, seen: Seen) -> Tensor:
        """What was seen of B images to their pixels as rows, by the best weights so far."""

    def _predict_last(self, seen: Seen) -> Tensor:
        """The same by the weights of the last unit of work."""
        return self._predict(seen)

    def _predict_start(self, seen: Seen) -> Tensor:
        """What the attack starts from, and has to add to: here the mean of the class."""
        return self._begun.class_means[seen.labels]

    @abstractmethod
    def _parameters_moved(self) -> bool:
        """Whether the trainable parameters differ from those before any learning, by hash."""


class ClosedForm(Inverter):
    """An inverter that is solved for and not trained, so that it is cheap to leave images out."""

    @abstractmethod
    def without(self, places: Tensor) -> Predict:
        """The same map with the same settings, had it learned from none of these images; call it after ``advance``.

        Args:
            places: positions within the fit part, (m,).
        """


def _prepared(knowledge: Knowledge, auxiliary: Auxiliary, generator: torch.Generator) -> Target:
    """One draw of the fit and of the validation part."""
    parts = (
        observe(knowledge, auxiliary.pixels[places], auxiliary.labels[places], generator)
        for places in (auxiliary.fit, auxiliary.validation)
    )
    target = Target(knowledge, generator, auxiliary, *parts)
    return replace(target, validation=target.as_tapped(target.validation))
