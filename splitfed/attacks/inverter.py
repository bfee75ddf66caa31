"""What the attacks share that learn a map from one activation to one image."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from splitfed.attacks.auxiliary import Auxiliary, Pairs, Predict, observe, predict_rows, split_auxiliary
from splitfed.attacks.base import Attack
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
        validation: pairs to judge by, one draw that stays.
    """

    knowledge: Knowledge
    generator: torch.Generator
    auxiliary: Auxiliary
    fit: Pairs
    validation: Pairs

    def redraw_fit(self) -> Pairs:
        """The fit part again: a fresh draw if the defense is randomized, else the same pairs."""
        if not self.knowledge.randomized:
            return self.fit
        return observe(self.knowledge, self.auxiliary.pixels[self.auxiliary.fit], self.generator)


class Inverter(Attack):
    """An attack that learns a map from features (activations as rows) to pixels."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._target: Target | None = None
        self._epochs = 0
        self._plateaued = False
        self._first_loss = float("nan")

    def begin(self, knowledge: Knowledge, generator: torch.Generator) -> None:
        before = self._target.auxiliary if self._target else None
        auxiliary = split_auxiliary(knowledge, before=before)
        self._target = Target(
            knowledge,
            generator,
            auxiliary,
            fit=observe(knowledge, auxiliary.pixels[auxiliary.fit], generator),
            validation=observe(knowledge, auxiliary.pixels[auxiliary.validation], generator),
        )
        self._plateaued = False
        self._first_loss = self._start(self._target)

    def reconstruct(self, activation: Tensor) -> Tensor:
        shape = self._begun.auxiliary.shape
        features = self._begun.knowledge.features(activation)
        return predict_rows(self._predict, features).clamp(0, 1).view(-1, *shape)

    def evidence(self) -> FitEvidence:
        target = self._begun
        shape = target.auxiliary.shape
        images = predict_rows(self._predict, target.validation.features).view(-1, *shape)
        targets = target.validation.targets.view(-1, *shape)
        return FitEvidence(
            first_loss=self._first_loss,
            last_loss=self._loss_on(target.fit, self._predict_last),
            parameters_moved=self._parameters_moved(),
            epochs=self._epochs,
            validation_psnr_db=float(fast_psnr_db(images, targets).mean()),
            validation_ssim=float(fast_ssim(images, targets).mean()),
            plateaued=self._plateaued,
        )

    @property
    def _begun(self) -> Target:
        if self._target is None:
            raise AttackError(f"{self.name}: begin() comes first")
        return self._target

    @abstractmethod
    def _start(self, target: Target) -> float:
        """Prepare for this front; the loss on the fit part before any learning."""

    def _losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """The attack's own loss per image, (B,), of pixels as rows: here the mean squared error."""
        return (predicted - targets).square().mean(dim=1)

    @torch.no_grad()
    def _loss_on(self, pairs: Pairs, predict: Predict) -> float:
        """The attack's own loss, mean over images."""
        return float(self._losses(predict_rows(predict, pairs.features), pairs.targets).mean())

    @abstractmethod
    def _predict(self, features: Tensor) -> Tensor:
        """Features (B, d) to pixels as rows, by the best weights so far."""

    def _predict_last(self, features: Tensor) -> Tensor:
        """The same by the weights of the last unit of work."""
        return self._predict(features)

    @abstractmethod
    def _parameters_moved(self) -> bool:
        """Whether the trainable parameters differ from those before any learning, by hash."""
