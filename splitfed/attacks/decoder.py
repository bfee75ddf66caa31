"""The trained attack: ridge regression, and a network that learns what ridge lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from splitfed.attacks.augmentation import augment
from splitfed.attacks.auxiliary import Pairs, observe
from splitfed.attacks.base import Progress
from splitfed.attacks.inverter import Inverter, Target
from splitfed.attacks.linear import mean_map
from splitfed.attacks.loss import leak_losses
from splitfed.attacks.residual import Residual, Training
from splitfed.attacks.ridge import FrontMap, fit_to_front
from splitfed.attacks.schedule import UNLIMITED_EPOCHS, Schedule
from splitfed.attacks.seen import Seen, one_hot
from splitfed.attacks.whitening import fit_whitening
from splitfed.errors import AttackError
from splitfed.metrics.fingerprint import fingerprint
from splitfed.options import Options

LONGEST_GRADIENT = 1.0
"""Longer gradients are cut to this norm; usual ones are half as long."""


class DecoderOptions(Options):
    """Options of `Decoder`."""

    width: int = Field(default=512, ge=1)
    """Of the residual path."""
    hidden: int = Field(default=256, ge=1)
    """Hidden units of each residual block."""
    blocks: int = Field(default=3, ge=0, le=64)
    """Residual blocks."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of Adam, anew with each front."""
    batch_size: int = Field(default=128, ge=1)
    max_epochs: int = Field(default=50, ge=1)
    """Per front. A training without a plateau by then ends with the learning rate at zero, and says so."""
    ssim_weight: float = Field(default=1.0, ge=0)
    """Weight of 1 - SSIM in the loss, beside the PSNR in units of 10 dB."""
    ridge_draws: int = Field(default=4, ge=1, le=100)
    """Draws of a randomized defense for the ridge regression that it starts from."""
    augmented_copies: int = Field(default=8, ge=0, le=64)
    """Mirrored and shifted copies of the auxiliary images, learned from in turn, unless the defense is randomized."""
    augmented_copies_expensive: int = Field(default=1, ge=0, le=64)
    """The same for a front that is expensive to run, such as one with sparse layers."""


class Decoder(Inverter):
    """Starts exactly at ridge; a residual network on whitened features and the label is trained to a plateau.

    A randomized defense is drawn afresh each epoch; of any other, epochs go in turn over the auxiliary images and
    augmented copies of them. Reconstructions come from a running average of the weights,
    as it was after the epoch that did best on the validation part. With a new front, ridge and whitening are
    fitted anew and the network goes on from its best weights, if those still help.

    The loss is a mean over images, as the scores are: (100 dB - PSNR) / 10 dB + ssim_weight · (1 - SSIM), of
    pixels clamped to [0, 1], so that a black background costs the network nothing.
    """

    name = "decoder"
    about = "starts at ridge, then a residual network trained to a plateau"
    adaptivity = "draws the noise afresh in each epoch, so that it learns what is left on average"
    caps: ClassVar[Mapping[str, int]] = {"max_epochs": UNLIMITED_EPOCHS}
    Options = DecoderOptions
    options: DecoderOptions

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__(options)
        self._training: Training | None = None

    def advance(self) -> Progress:
        target, training = self._begun, self._made
        train_loss = self._train_epoch(target, training)
        validation_loss = self._loss_on(target.validation, self._predict_last)
        if self._schedule.judge(validation_loss):
            training.keep()
        self._epochs += 1
        self._plateaued = self._schedule.plateaued
        return Progress(self._epochs, train_loss, validation_loss, self._schedule.plateaued, self._schedule.finished)

    def _start(self, target: Target) -> float:
        self._ridge: FrontMap = fit_to_front(target, draws=self.options.ridge_draws)
        self._whiten = fit_whitening(target.fit.features)
        self._classes = target.auxiliary.classes
        if self._training is None:
            self._training = self._make(target)
            self._before = fingerprint(self._training.average.state_dict())
        elif self._loss_on(target.validation, self._predict) < self._loss_on(target.validation, self._ridge):
            self._training.resume()
        else:
            self._training.silence()
        self._turn, self._copies = 0, {0: target.fit}
        self._optimizer = torch.optim.Adam(self._training.network.parameters(), fused=True)
        start_loss = self._loss_on(target.validation, self._predict)
        self._schedule = Schedule(self.options.learning_rate, self.options.max_epochs, start_loss=start_loss)
        # before any learning, ridge's included: where noise leaves nothing to add to ridge, it has still learned
        mean = mean_map(target.fit.features, target.fit.targets)
        return self._loss_on(target.fit, lambda seen: mean(seen.features))

    def _make(self, target: Target) -> Training:
        network = new_residual(target, self.options, outputs=target.auxiliary.shape.pixels)
        network.silence()
        return Training(network)

    def _train_epoch(self, target: Target, training: Training) -> float:
        """One pass over the fit part; the mean loss over its images."""
        pairs = self._pairs(target)
        # what does not change within the epoch is computed in one go
        inputs, start = self._inputs(pairs.seen), self._ridge(pairs.seen)
        order = torch.randperm(len(inputs), generator=target.generator)
        total = 0.0
        batches = torch.split(order, self.options.batch_size)
        for number, rows in enumerate(batches, start=1):
            predicted = start[rows] + training.network(inputs[rows])
            loss = self._losses(predicted, pairs.targets[rows]).mean()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(training.network.parameters(), LONGEST_GRADIENT)
            self._schedule.set_rate(self._optimizer, number / len(batches))
            self._optimizer.step()
            training.after_step()
            total += loss.item() * len(rows)
        return total / len(inputs)

    def _pairs(self, target: Target) -> Pairs:
        """What this epoch learns from."""
        knowledge = target.knowledge
        if knowledge.randomized:
            return target.redraw_fit()
        copies = self.options.augmented_copies_expensive if knowledge.expensive else self.options.augmented_copies
        turn = self._turn % (copies + 1)
        self._turn += 1
        if turn not in self._copies:
            own = target.auxiliary.pixels[target.auxiliary.fit]
            copied = augment(own, target.generator)
            self._copies[turn] = observe(knowledge, copied, target.fit.labels, target.generator)
        return self._copies[turn]

    def _losses(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return leak_losses(predicted, targets, self._begun.auxiliary.shape, ssim_weight=self.options.ssim_weight)

    def _inputs(self, seen: Seen) -> Tensor:
        """What the network sees of B images: whitened features and the label."""
        return torch.cat([self._whiten(seen.features), one_hot(seen.labels, self._classes)], dim=1)

    def _predict(self, seen: Seen) -> Tensor:
        result: Tensor = self._ridge(seen) + self._made.best(self._inputs(seen))
        return result

    def _predict_last(self, seen: Seen) -> Tensor:
        result: Tensor = self._ridge(seen) + self._made.average(self._inputs(seen))
        return result

    def _predict_start(self, seen: Seen) -> Tensor:
        return self._ridge(seen)

    def _parameters_moved(self) -> bool:
        return fingerprint(self._made.average.state_dict()) != self._before

    @property
    def _made(self) -> Training:
        if self._training is None:
            raise AttackError(f"{self.name}: begin() comes first")
        return self._training


def new_residual(target: Target, options: DecoderOptions, *, outputs: int) -> Residual:
    """The network that these options ask for, its weights drawn from the target's generator."""
    return Residual(
        target.fit.features.shape[1] + target.auxiliary.classes,
        outputs,
        width=options.width,
        hidden=options.hidden,
        blocks=options.blocks,
        generator=target.generator,
    )
