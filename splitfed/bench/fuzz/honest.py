"""Clients that do nothing wrong: they train while others bombard the server, and compare what comes of it."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from splitfed.bench.fuzz.host import CLASSES, HONEST, ROUND, RUN, SECRET, WIDTH, linear, sgd
from splitfed.bench.fuzz.target import PATIENT, Seen, digest
from splitfed.types import Phase
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.session import Hello

if TYPE_CHECKING:
    from types import TracebackType

STEPS, BATCH, PIXELS = 25, 3, 9


class Trained(NamedTuple):
    """What a training leaves behind.

    Attributes:
        result: a digest of losses, gradients, and weights.
        sent: its batches.
    """

    result: str
    sent: Counter[Seen]


def train(address: str, client: int) -> Trained:
    """One training of a front from the same start, over one stream that is not dialed again.

    Raises:
        WireError: the stream was disturbed.
    """
    hello = Hello(RUN, ROUND, client, Phase.TRAIN, (WIDTH,), token=client_token(SECRET, client))
    front = nn.Sequential(linear(PIXELS, WIDTH, seed=client), nn.ReLU())
    optimizer = sgd(front)
    generator = torch.Generator().manual_seed(client)
    result, sent = hashlib.sha256(), Counter[Seen]()
    with GrpcLink([address], hello, retries=0, deadline_s=120.0, keepalive=PATIENT) as link:
        for step in range(STEPS):
            pixels = torch.rand(BATCH, PIXELS, generator=generator)
            labels = torch.randint(CLASSES, (BATCH,), generator=generator)
            activation = front(pixels)
            sent[client, step, digest(activation.detach(), labels)] += 1
            answer = link.forward(step, activation, labels)
            assert answer.gradient is not None
            optimizer.zero_grad()
            activation.backward(answer.gradient)
            optimizer.step()
            result.update(_bytes(torch.tensor(answer.loss, dtype=torch.float64)) + _bytes(answer.gradient))
        link.done(STEPS, STEPS * BATCH)
    for parameter in front.parameters():
        result.update(_bytes(parameter.detach()))
    return Trained(result.hexdigest(), sent)


class HonestClients:
    """Train over and over in threads of their own while the context lasts, and through their last training."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.trainings: list[tuple[int, Trained]] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._train, args=(client,), daemon=True) for client in HONEST]

    def __enter__(self) -> HonestClients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _train(self, client: int) -> None:
        while True:
            try:
                trained = train(self._address, client)
            except Exception as error:
                self.failures.append(f"client-{client}: {error!r}")
                return
            with self._lock:
                self.trainings.append((client, trained))
            if self._over.is_set():
                return


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()
