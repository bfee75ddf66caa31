"""One client: its images, its front, and its side of a training round."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from splitfed.defenses import check_generated, check_protected
from splitfed.defenses.base import Figures, TrainingBatch
from splitfed.errors import SplitfedError
from splitfed.federation.job import Job
from splitfed.federation.order import SMALLEST_BATCH, evaluation_batches, training_batches
from splitfed.federation.penalty import Penalty
from splitfed.seeding import generator
from splitfed.types import Images, Phase
from splitfed.wire.link import Link
from splitfed.wire.session import Hello

logger = logging.getLogger(__name__)

STEM_BATCH = 256
"""Images that go through the stem at once."""


@dataclass(frozen=True)
class ClientImages:
    """What one client holds: images to train on, and its share of the held-out images."""

    train: Images
    test: Images


@dataclass(frozen=True)
class StepReport:
    """One step of one client, for whoever watches."""

    round: int
    client: int
    step: int
    steps: int
    loss: float
    images_per_s: float
    sent_bytes: int


@dataclass(frozen=True)
class StreamReport:
    """What a finished stream came to. Bytes are those of this protocol's frames; measures are of the defense."""

    examples: int
    steps: int
    loss: float
    sent_bytes: int
    received_bytes: int
    measures: Figures = field(default_factory=dict)


Connect = Callable[[Sequence[str], Hello], AbstractContextManager[Link]]
"""Opens a link for a stream: over gRPC to the first address that answers, or without a wire."""

OnStep = Callable[[StepReport], None]


class StoppedError(SplitfedError):
    """The run is being stopped; the client leaves its round."""


class Client:
    """A client of one job. Its front is reloaded from the average each round; its images never leave it."""

    def __init__(
        self,
        job: Job,
        number: int,
        images: ClientImages,
        connect: Connect,
        *,
        on_step: OnStep | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.job = job
        self.number = number
        self.front = job.front()
        self._defense = job.defense()
        self._images = images
        self._training: Images | None = None
        self._connect = connect
        self._on_step = on_step
        self._stopped = stopped
        self._stems: dict[Phase, Tensor] = {}
        self._stem_state: dict[str, Tensor] = {}
        self._sent_bytes = 0

    def prepare(self, round_number: int) -> int:
        """Learn what the defense learns without labels before training; returns the number of images used.

        Raises:
            SplitfedError: there is no image.
        """
        pixels = self._images.train.pixels
        _check_enough(f"client-{self.number} TRAIN", pixels, 1)
        drawn_from = generator(self.job.cell.seed, "prepare", self.number, round_number)
        self._defense.prepare(self.front, pixels, drawn_from)
        return len(pixels)

    def train(self, round_number: int, addresses: Sequence[str]) -> StreamReport:
        """Train the front for the local epochs of one round, the back at the other end of a stream.

        Raises:
            SplitfedError: there are too few images for a batch.
        """
        self.front.train()
        optimiser = self.job.optimiser(self.front.body)
        penalty = Penalty(self._defense)
        pixels, labels = self._training_images.pixels, self._labels(Phase.TRAIN)
        _check_enough(f"client-{self.number} TRAIN", labels, SMALLEST_BATCH)
        batches = training_batches(self.job, self.number, len(labels), round_number)
        started, seen, loss_sum = time.monotonic(), 0, 0.0
        with self._connect(addresses, self._hello(round_number, Phase.TRAIN)) as link:
            for step, rows in enumerate(batches):
                self._check_stopped()
                features = self._stem(Phase.TRAIN)[rows]
                output, hidden = self.front.trace(features)
                leaf = output.detach().requires_grad_()
                activation = self._protect(leaf, Phase.TRAIN, round_number, step)
                result = link.forward(step, activation.detach(), labels[rows])
                optimiser.zero_grad(set_to_none=True)
                penalty.backward(TrainingBatch(pixels[rows], labels[rows], output, hidden, self.front))
                activation.backward(result.gradient)  # type: ignore[no-untyped-call]
                assert leaf.grad is not None
                noise = self._generator("backward", Phase.TRAIN, round_number, step)
                self._defense.backward(self.front.body, features, output, leaf.grad, noise)
                optimiser.step()
                self.front.after_step()
                seen += len(rows)
                loss_sum += result.loss * len(rows)
                self._report(round_number, step, len(batches), result.loss, seen, started, link)
            link.done(len(batches), seen)
            self._sent_bytes += link.sent_bytes
        measures = {**penalty.measures(), **self._defense.measures()}
        return StreamReport(seen, len(batches), loss_sum / seen, link.sent_bytes, link.received_bytes, measures)

    @torch.no_grad()
    def evaluate(self, phase: Phase, round_number: int, addresses: Sequence[str]) -> StreamReport:
        """Stream the images of this phase in their own order through the averaged front, without training.

        Raises:
            SplitfedError: there is no image.
        """
        self.front.eval()
        labels = self._labels(phase)
        _check_enough(f"client-{self.number} {phase.name}", labels, 1)
        batches = evaluation_batches(self.job, len(labels))
        seen, loss_sum = 0, 0.0
        with self._connect(addresses, self._hello(round_number, phase)) as link:
            for step, rows in enumerate(batches):
                self._check_stopped()
                activation = self._protect(self.activation(phase, rows), phase, round_number, step)
                result = link.forward(step, activation, labels[rows])
                seen += len(rows)
                loss_sum += result.loss * len(rows)
            link.done(len(batches), seen)
            return StreamReport(seen, len(batches), loss_sum / seen, link.sent_bytes, link.received_bytes)

    def activation(self, phase: Phase, rows: Tensor) -> Tensor:
        """The front's output for these rows of a phase's images, before the defense's `protect`: (B, width)."""
        activation: Tensor = self.front.body(self._stem(phase)[rows])
        return activation

    def _protect(self, output: Tensor, phase: Phase, round_number: int, step: int) -> Tensor:
        noise = self._generator("protect", phase, round_number, step)
        protected = self._defense.protect(output, noise, phase)
        check_protected(self._defense, output, protected, self.job.scenario.model.width, client=self.number)
        return protected

    def _generator(self, purpose: str, phase: Phase, round_number: int, step: int) -> torch.Generator:
        return generator(self.job.cell.seed, purpose, int(phase), self.number, round_number, step)

    @property
    def _training_images(self) -> Images:
        """The client's own images, then those that its defense generates from them, once."""
        if self._training is None:
            own = self._images.train
            made = self._defense.generate(own, generator(self.job.cell.seed, "generate", self.number))
            check_generated(self._defense, own, made)
            self._training = Images(
                torch.cat([own.pixels, made.pixels]), torch.cat([own.labels, made.labels]), own.classes
            )
        return self._training

    @torch.no_grad()
    def _stem(self, phase: Phase) -> Tensor:
        """The stem's output for all images of this phase, kept for as long as the stem stays the same."""
        state = {name: value.clone() for name, value in self.front.stem.state_dict().items()}
        if not _same(state, self._stem_state):
            self._stems.clear()
            self._stem_state = state
        kind = Phase.TEST if phase is Phase.TEST else Phase.TRAIN
        if kind not in self._stems:
            pixels = self._images_of(kind).pixels
            self._stems[kind] = torch.cat([self.front.stem(batch) for batch in torch.split(pixels, STEM_BATCH)])
        return self._stems[kind]

    def _images_of(self, phase: Phase) -> Images:
        """Audited are the client's own images, which stand first among those that it trains on."""
        if phase is Phase.TEST:
            return self._images.test
        return self._training_images if phase is Phase.TRAIN else self._images.train

    def _labels(self, phase: Phase) -> Tensor:
        return self._images_of(phase).labels

    def _hello(self, round_number: int, phase: Phase) -> Hello:
        return Hello(
            run=self.job.run,
            round=round_number,
            client=self.number,
            phase=phase,
            shape=(self.job.released,),
            codec=self.job.scenario.federation.codec,
            token=self.job.token,
        )

    def _check_stopped(self) -> None:
        if self._stopped():
            raise StoppedError("the run is being stopped")

    def _report(
        self, round_number: int, step: int, steps: int, loss: float, seen: int, started: float, link: Link
    ) -> None:
        if self._on_step is None:
            return
        rate = seen / max(time.monotonic() - started, 1e-9)
        sent = self._sent_bytes + link.sent_bytes
        try:
            self._on_step(StepReport(round_number, self.number, step, steps, loss, rate, sent))
        except Exception:  # a watcher's fault must not cost the client its round
            logger.exception("client-%d: what watches its steps failed; it goes on unwatched", self.number)
            self._on_step = None


def _check_enough(whose: str, images: Tensor, needed: int) -> None:
    if len(images) < needed:
        raise SplitfedError(
            f"{whose}: holds {len(images)} images; expected at least {needed}. Give it more, share them more evenly, "
            "or leave it out"
        )


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
