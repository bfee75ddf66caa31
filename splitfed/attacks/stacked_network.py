"""The network of the ensemble: a U-Net on what other attacks made of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from splitfed.attacks.auxiliary import BATCH
from splitfed.attacks.convolutional import Refiner, draw, silence
from splitfed.attacks.loss import leak_losses
from splitfed.attacks.residual import Correction, Training
from splitfed.attacks.schedule import Schedule
from splitfed.attacks.seen import one_hot
from splitfed.types import ImageShape

LONGEST_GRADIENT = 1.0
"""Longer gradients are cut to this norm."""


@dataclass(frozen=True)
class Lesson:
    """What the network learns from: one draw of the noise, or one copy, of the fit part.

    Attributes:
        maps: what the network sees of each image, (n, maps, p), float16.
        labels: what the attack would have of others, (n,).
        targets: the images as rows, (n, p).
    """

    maps: Tensor
    labels: Tensor
    targets: Tensor


class StackedNetwork(Correction):
    """What to add to one of the images that it sees: a U-Net on all of them.

    Args:
        maps: how many images it sees.
        start: which of them is added to.
        classes: how many there are.
        shape: of an image.
        channels: maps of the U-Net at half the resolution.
        generator: of its weights.
    """

    def __init__(
        self, maps: int, start: int, classes: int, shape: ImageShape, *, channels: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self._shape = shape
        self._start = start
        self._classes = classes
        self.refiner = Refiner(maps * shape.channels, shape, width=classes, channels=channels)
        draw(self.refiner, generator)
        self.silence()

    def forward(self, maps: Tensor, labels: Tensor) -> Tensor:
        """(B, maps, p) and (B,) to pixels as rows (B, p)."""
        images = maps.reshape(len(maps), -1, *self._shape[1:])
        correction = self.refiner(images, one_hot(labels, self._classes)).flatten(1)
        corrected: Tensor = maps[:, self._start] + correction
        return corrected

    def silence(self) -> None:
        silence(self.refiner)


class StackedTraining:
    """The network's training to a plateau.

    Args:
        network: it adds nothing yet.
        validation: what it is judged by.
        schedule: of the learning rate.
        shape: of an image.
        batch_size: images per step.
        generator: of the order of the images.

    Attributes:
        weights: in training, averaged, and best.
    """

    def __init__(
        self,
        network: StackedNetwork,
        validation: Lesson,
        schedule: Schedule,
        shape: ImageShape,
        *,
        batch_size: int,
        generator: torch.Generator,
    ) -> None:
        self.weights = Training(network)
        self.schedule = schedule
        self._validation = validation
        self._shape = shape
        self._batch_size = batch_size
        self._generator = generator
        self._optimizer = torch.optim.Adam(network.parameters(), fused=True)

    def epoch(self, lesson: Lesson) -> tuple[float, float]:
        """One pass over a lesson; its mean loss, and then that of the averaged weights on the validation part."""
        network, total = self.weights.network, 0.0
        batches = torch.split(torch.randperm(len(lesson.labels), generator=self._generator), self._batch_size)
        for number, rows in enumerate(batches, start=1):
            predicted = network(lesson.maps[rows].float(), lesson.labels[rows])
            loss = leak_losses(predicted, lesson.targets[rows], self._shape).mean()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            clip_grad_norm_(network.parameters(), LONGEST_GRADIENT)
            self.schedule.set_rate(self._optimizer, number / len(batches))
            self._optimizer.step()
            self.weights.after_step()
            total += loss.item() * len(rows)
        validated = self._judged()
        if self.schedule.judge(validated):
            self.weights.keep()
        return total / len(lesson.labels), validated

    def _judged(self) -> float:
        held_out = self._validation
        made = corrected(self.weights.average, held_out.maps, held_out.labels)
        return float(leak_losses(made, held_out.targets, self._shape).mean())


@torch.no_grad()
def corrected(network: Correction, maps: Tensor, labels: Tensor) -> Tensor:
    """What a stacked network makes of many images: rows (n, p) in [0, 1]."""
    parts = zip(torch.split(maps, BATCH), torch.split(labels, BATCH), strict=True)
    return torch.cat([network(seen.float(), label) for seen, label in parts]).clamp(0, 1)
