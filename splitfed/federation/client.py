"""One client: its images, and what it keeps from one round to the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from splitfed.defenses import Defense, check_generated
from splitfed.defenses.base import Figures
from splitfed.federation.job import Job
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
    """What a finished stream came to: its mean loss, and how many images were classified right. Bytes are those of this
    protocol's frames; measures are of the defense."""

    examples: int
    steps: int
    loss: float
    correct: int
    sent_bytes: int
    received_bytes: int
    measures: Figures = field(default_factory=dict)


Connect = Callable[[Sequence[str], Hello], AbstractContextManager[Link]]
"""Opens a link for a stream: over gRPC to the first address that answers, or without a wire."""

OnStep = Callable[[StepReport], None]


@dataclass(frozen=True)
class Generated:
    """What a client's defense made of its images before the first round.

    Attributes:
        defense: after `Defense.generate`; each round works on a copy of it.
        training: the client's own images, then those that were generated from them.
    """

    defense: Defense
    training: Images


class Client:
    """A client of one job; its images never leave it.

    Whatever belongs to one round is in a `Task` and dropped with it: front, optimizer, and what the defense keeps. Here
    is all that outlives a round, and no result depends on how many rounds there were before, or on how they ended:

    - what the defense generated: a pure function of the images and the run's seed;
    - the stem's outputs: a cache of a pure function of the images and the stem;
    - the number of the newest task, by which older ones know that they are to leave;
    - bytes sent so far, and who is told of steps: for whoever watches.
    """

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
        self.images = images
        self.connect = connect
        self.stopped = stopped
        self.newest_task = 0
        self._on_step = on_step
        self._generated: Generated | None = None
        self._stems: dict[Phase, Tensor] = {}
        self._stem_state: dict[str, Tensor] = {}
        self._sent_bytes = 0
        # a task that was given up may still be at work when the next one begins
        self._lock = threading.Lock()
        self._generating, self._stemming = threading.Lock(), threading.Lock()

    def begin_task(self) -> int:
        """The number of a new task; all older ones are to leave."""
        with self._lock:
            self.newest_task += 1
            return self.newest_task

    def generated(self) -> Generated:
        """The images that this client trains on, and its defense behind them; made once.

        Raises:
            SplitfedError: the defense generated other images than it announced.
        """
        with self._generating:
            if self._generated is None:
                own, defense = self.images.train, self.job.defense()
                made = defense.generate(own, generator(self.job.cell.seed, "generate", self.number))
                check_generated(defense, own, made)
                pixels, labels = torch.cat([own.pixels, made.pixels]), torch.cat([own.labels, made.labels])
                self._generated = Generated(defense, Images(pixels, labels, own.classes))
            return self._generated

    def images_of(self, phase: Phase) -> Images:
        """Audited are the client's own images, which stand first among those that it trains on."""
        if phase is Phase.TEST:
            return self.images.test
        return self.generated().training if phase is Phase.TRAIN else self.images.train

    @torch.no_grad()
    def stemmed(self, stem: nn.Module, phase: Phase) -> Tensor:
        """The stem's output for all images of this phase, kept for as long as the stem stays the same."""
        kind = Phase.TEST if phase is Phase.TEST else Phase.TRAIN
        pixels = self.images_of(kind).pixels
        with self._stemming:
            state = {name: value.clone() for name, value in stem.state_dict().items()}
            if not _same(state, self._stem_state):
                self._stems.clear()
                self._stem_state = state
            if kind not in self._stems:
                self._stems[kind] = torch.cat([stem(batch) for batch in torch.split(pixels, STEM_BATCH)])
            return self._stems[kind]

    def tell(self, report: StepReport) -> None:
        """Tell whoever watches of a step, with the bytes of earlier rounds added to those of this one."""
        if self._on_step is None:
            return
        sent_bytes = self._sent_bytes + report.sent_bytes
        try:
            self._on_step(StepReport(**{**vars(report), "sent_bytes": sent_bytes}))
        except Exception:  # a watcher's fault must not cost the client its round
            logger.exception("client-%d: what watches its steps failed; it goes on unwatched", self.number)
            self._on_step = None

    def count_sent(self, nbytes: int) -> None:
        """Bytes of a finished stream."""
        with self._lock:
            self._sent_bytes += nbytes


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
