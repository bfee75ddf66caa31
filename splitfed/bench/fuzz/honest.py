"""Clients that do nothing wrong: they train while others bombard the server, and compare what comes of it."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.bench.fuzz.host import CLASSES, FEATURES, HONEST, ROUND, RUN, SECRET, WIDTH, linear, sgd
from splitfed.bench.fuzz.target import PATIENT, Seen, digest
from splitfed.types import Phase
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.session import Hello

if TYPE_CHECKING:
    from types import TracebackType

    from splitfed.wire.link import Link

STEPS, BATCH, PIXELS = 25, 3, 9
KEEP_LABELS = HONEST[1:]
"""Of these the labels and the last layer stay with the client."""


class HonestTraining(NamedTuple):
    """What a training leaves behind.

    Attributes:
        result: a digest of losses, gradients, and weights.
        sent: its batches.
    """

    result: str
    sent: Counter[Seen]


def train(address: str, client: int) -> HonestTraining:
    """One training of a front from the same start, over one stream that is not dialed again.

    Raises:
        WireError: the stream was disturbed.
    """
    keeps_labels = client in KEEP_LABELS
    token = client_token(SECRET, client)
    hello = Hello(RUN, ROUND, client, Phase.TRAIN, (WIDTH,), token=token, keeps_labels=keeps_labels)
    front = nn.Sequential(linear(PIXELS, WIDTH, seed=client), nn.ReLU())
    head = linear(FEATURES, CLASSES, seed=4)
    optimizer = sgd(front)
    generator = torch.Generator().manual_seed(client)
    result, sent = hashlib.sha256(), Counter[Seen]()
    with GrpcLink([address], hello, retries=0, deadline_s=120.0, keepalive=PATIENT) as link:
        for step in range(STEPS):
            pixels = torch.rand(BATCH, PIXELS, generator=generator)
            labels = torch.randint(CLASSES, (BATCH,), generator=generator)
            activation = front(pixels)
            sent[client, step, digest(activation.detach(), None if keeps_labels else labels)] += 1
            ask = partial(_in_halves, head) if keeps_labels else _whole
            loss, gradient = ask(link, step, activation, labels)
            optimizer.zero_grad()
            activation.backward(gradient)
            optimizer.step()
            result.update(_bytes(torch.tensor(loss, dtype=torch.float64)) + _bytes(gradient))
        link.done(STEPS, STEPS * BATCH)
    for parameter in front.parameters():
        result.update(_bytes(parameter.detach()))
    return HonestTraining(result.hexdigest(), sent)


def _whole(link: Link, step: int, activation: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    loss, _, gradient = link.forward(step, activation, labels)
    assert gradient is not None
    return loss, gradient


def _in_halves(head: nn.Module, link: Link, step: int, activation: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Loss and gradient of a batch, of which the server learns no label."""
    features = link.features(step, activation).requires_grad_()
    loss = F.cross_entropy(head(features), labels)
    (by_features,) = torch.autograd.grad(loss, features)
    return loss.item(), link.backward(step, by_features)


class HonestClients:
    """Train over and over in threads of their own while the context lasts, and through their last training."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.trainings: list[tuple[int, HonestTraining]] = []
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
