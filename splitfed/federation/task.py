"""One thing that the server asks of a client: to prepare, to train a round, or to evaluate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from splitfed.defenses import Defense, check_protected
from splitfed.defenses.base import TrainingBatch
from splitfed.errors import SplitfedError
from splitfed.federation.client import STEM_BATCH, Client, StepReport, StreamReport
from splitfed.federation.head import EvaluatedHead, TakeStep, TrainedHead, at_the_server, held
from splitfed.federation.order import SMALLEST_BATCH, evaluation_batches, training_batches
from splitfed.federation.regularizer import Regularizer
from splitfed.seeding import generator
from splitfed.types import Phase
from splitfed.wire.link import Link
from splitfed.wire.session import Hello


class StoppedError(SplitfedError):
    """The run is being stopped, or the client was asked for something else; the task is left."""


class Task:
    """A client at work on what it was asked, with a front of its own.

    Front, optimizer and what the defense keeps belong to the task: they are dropped with it, however it ends, and one
    that was given up and is still at work changes nothing of the next. It leaves at its next step.

    Attributes:
        front: of this task alone.
        head: the last layer of the network, where it stays with the client.
        held: both; the caller loads the averaged weights into it first.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.job = client.job
        self.front = client.job.front()
        self.head = client.job.head()
        self.held = held(self.front, self.head)
        self._number = client.begin_task()

    def prepare(self, round_number: int) -> int:
        """Learn what the defense learns without labels before training; returns the number of images used.

        Raises:
            SplitfedError: there is no image.
        """
        pixels = self.client.images.train.pixels
        _check_enough(f"client-{self.client.number} TRAIN", pixels, 1)
        drawn_from = generator(self.job.cell.seed, "prepare", self.client.number, round_number)
        self.job.defense().begin_round(round_number).prepare(self.front, pixels, drawn_from)
        return len(pixels)

    def train(self, round_number: int, addresses: Sequence[str]) -> StreamReport:
        """Train the front for the local epochs of one round, the back at the other end of a stream.

        Raises:
            SplitfedError: there are too few images for a batch.
        """
        self.front.train()
        optimizer = self.job.optimizer(self.front.body)
        generated = self.client.generated()
        defense = generated.defense.begin_round(round_number)
        regularizer = Regularizer(defense)
        pixels, labels = generated.training.pixels, generated.training.labels
        _check_enough(f"client-{self.client.number} TRAIN", labels, SMALLEST_BATCH)
        batches = training_batches(self.job, self.client.number, len(labels), round_number)
        take_step = self._training_step(defense, round_number)
        started, seen, loss_sum, correct = time.monotonic(), 0, 0.0, 0
        with self.client.connect(addresses, self._hello(round_number, Phase.TRAIN)) as link:
            for step, rows in enumerate(batches):
                self._check_wanted()
                features = self._features(Phase.TRAIN, rows)
                output, hidden = self.front.trace(features)
                leaf = output.detach().requires_grad_()
                activation = self._protect(defense, leaf, Phase.TRAIN, round_number, step)
                result = take_step(link, step, activation.detach(), labels[rows])
                optimizer.zero_grad(set_to_none=True)
                regularizer.backward(TrainingBatch(pixels[rows], labels[rows], output, hidden, self.front))
                activation.backward(result.gradient)  # type: ignore[no-untyped-call]
                assert leaf.grad is not None
                noise = self._generator("backward", Phase.TRAIN, round_number, step)
                defense.backward(self.front.body, features, output, leaf.grad, noise)
                optimizer.step()
                self.front.after_step(rows < len(self.client.images.train))  # the generated ones stand behind them
                seen += len(rows)
                loss_sum += result.loss * len(rows)
                correct += result.correct
                self._report(round_number, step, len(batches), result.loss, seen, started, link)
            link.done(len(batches), seen)
            self.client.count_sent(link.sent_bytes)
        measures = {**regularizer.measures(), **defense.measures()}
        loss = loss_sum / seen
        return StreamReport(seen, len(batches), loss, correct, link.sent_bytes, link.received_bytes, measures)

    @torch.no_grad()
    def evaluate(self, phase: Phase, round_number: int, addresses: Sequence[str]) -> StreamReport:
        """Stream the images of this phase in their own order through the averaged front, without training.

        Raises:
            SplitfedError: there is no image.
        """
        self.front.eval()
        labels = self.client.images_of(phase).labels
        _check_enough(f"client-{self.client.number} {phase.name}", labels, 1)
        defense = self.job.defense()
        batches = evaluation_batches(self.job, len(labels))
        take_step: TakeStep = at_the_server if self.head is None else EvaluatedHead(self.head.eval())
        seen, loss_sum, correct = 0, 0.0, 0
        with self.client.connect(addresses, self._hello(round_number, phase)) as link:
            for step, rows in enumerate(batches):
                self._check_wanted()
                activation = self._protect(defense, self.activation(phase, rows), phase, round_number, step)
                result = take_step(link, step, activation, labels[rows])
                seen += len(rows)
                loss_sum += result.loss * len(rows)
                correct += result.correct
            link.done(len(batches), seen)
            loss = loss_sum / seen
            return StreamReport(seen, len(batches), loss, correct, link.sent_bytes, link.received_bytes)

    def _training_step(self, defense: Defense, round_number: int) -> TakeStep:
        """How this round's steps are taken; the head has an optimizer of its own, made anew each round."""
        if self.head is None:
            return at_the_server
        noise = partial(self._generator, "head", Phase.TRAIN, round_number)
        return TrainedHead(self.head.train(), self.job.optimizer(self.head), defense, noise)

    def activation(self, phase: Phase, rows: Tensor) -> Tensor:
        """The front's output for these rows of a phase's images, before the defense's `protect`: (B, width)."""
        activation: Tensor = self.front.body(self._features(phase, rows))
        return activation

    @torch.no_grad()
    def sent(self, phase: Phase, round_number: int, step: int, rows: Tensor) -> Tensor:
        """What `evaluate` sends in this step for these rows, made once more from the images: nothing that the client
        keeps is used, and only the part of the images that is needed goes through the stem."""
        self.front.eval()
        pixels = self.client.images_of(phase).pixels
        first, last = int(rows.min()) // STEM_BATCH * STEM_BATCH, int(rows.max()) + 1
        parts = [self.front.stem(pixels[start : start + STEM_BATCH]) for start in range(first, last, STEM_BATCH)]
        output = self.front.body(torch.cat(parts)[rows - first])
        return self._protect(self.job.defense(), output, phase, round_number, step)

    def _features(self, phase: Phase, rows: Tensor) -> Tensor:
        return self.client.stemmed(self.front.stem, phase)[rows]

    def _protect(self, defense: Defense, output: Tensor, phase: Phase, round_number: int, step: int) -> Tensor:
        noise = self._generator("protect", phase, round_number, step)
        protected = defense.protect(output, noise, phase)
        check_protected(defense, output, protected, self.job.scenario.model.width, client=self.client.number)
        return protected

    def _generator(self, purpose: str, phase: Phase, round_number: int, step: int) -> torch.Generator:
        return generator(self.job.cell.seed, purpose, int(phase), self.client.number, round_number, step)

    def _hello(self, round_number: int, phase: Phase) -> Hello:
        return Hello(
            run=self.job.run,
            round=round_number,
            client=self.client.number,
            phase=phase,
            shape=(self.job.released,),
            codec=self.job.scenario.federation.codec,
            token=self.job.token,
            keeps_labels=self.job.keeps_labels,
        )

    def _check_wanted(self) -> None:
        if self.client.stopped():
            raise StoppedError("the run is being stopped")
        if self.client.newest_task != self._number:
            raise StoppedError(f"client-{self.client.number} was asked for something else meanwhile")

    def _report(
        self, round_number: int, step: int, steps: int, loss: float, seen: int, started: float, link: Link
    ) -> None:
        rate = seen / max(time.monotonic() - started, 1e-9)
        self.client.tell(StepReport(round_number, self.client.number, step, steps, loss, rate, link.sent_bytes))


def _check_enough(whose: str, images: Tensor, needed: int) -> None:
    if len(images) < needed:
        raise SplitfedError(
            f"{whose}: holds {len(images)} images; expected at least {needed}. Give it more, share them more evenly, "
            "or leave it out"
        )
