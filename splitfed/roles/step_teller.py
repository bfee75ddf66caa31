"""How far each client has come in its round, as the server sees it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import cast

from torch import Tensor

from splitfed.federation.client import StepReport
from splitfed.types import Phase
from splitfed.wire.codec import CODECS
from splitfed.wire.session import FeatureSession, Hello, Session, SessionHost, StepResult


class StepTeller:
    """Another host, of which each training step is also told. Where labels stay with the clients, so do their losses:
    then nothing is.

    Args:
        host: who holds the back.
        tell: gets each step; its bytes are those of the activations, without what frames them.
        images_of: how many images a client trains on in an epoch, as far as it has said so.
        epochs: local epochs in a round.
    """

    def __init__(
        self, host: SessionHost, tell: Callable[[StepReport], None], images_of: Callable[[int], int], epochs: int
    ) -> None:
        self._host = host
        self._tell = tell
        self._images_of = images_of
        self._epochs = epochs
        self._sent_bytes: dict[int, int] = {}
        self.classes = host.classes

    def open(self, hello: Hello) -> Session | FeatureSession:
        """The other host's session, told of in training.

        Raises:
            Refused: by the other host.
        """
        session = self._host.open(hello)
        if hello.phase is not Phase.TRAIN or hello.keeps_labels:
            return session
        return _ToldSession(cast(Session, session), hello, self)

    def stepped(self, hello: Hello, step: int, activation: Tensor, result: StepResult, images_per_s: float) -> None:
        """A step of this stream was answered."""
        codec = CODECS[hello.codec]
        self._sent_bytes[hello.client] = self._sent_bytes.get(hello.client, 0) + codec.encode(activation).nbytes
        images = self._images_of(hello.client)
        steps = self._epochs * math.ceil(images / len(activation)) if images else 0
        sent = self._sent_bytes[hello.client]
        self._tell(StepReport(hello.round, hello.client, step, max(steps, step + 1), result.loss, images_per_s, sent))


class _ToldSession:
    def __init__(self, session: Session, hello: Hello, teller: StepTeller) -> None:
        self._session = session
        self._hello = hello
        self._teller = teller
        self._started = time.monotonic()
        self._images = 0
        self.next_step = session.next_step

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        result = self._session.forward(step, activation, labels)
        self.next_step = self._session.next_step
        self._images += len(activation)
        rate = self._images / max(time.monotonic() - self._started, 1e-9)
        self._teller.stepped(self._hello, step, activation, result, rate)
        return result

    def update(self) -> None:
        self._session.update()

    def finish(self, steps: int, examples: int) -> None:
        self._session.finish(steps, examples)
