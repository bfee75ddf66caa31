"""What the fuzz suite aims at: a small host that really trains, and notes what it was given."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.errors import Refused
from splitfed.types import Phase
from splitfed.wire.session import StepResult

if TYPE_CHECKING:
    from splitfed.wire.session import Hello

RUN = "fuzz"
SECRET = "fuzz"
WIDTH, CLASSES = 6, 4
ROUND = 1
ATTACKERS = (0, 1)
"""Clients whose tokens the attackers hold: even what proves who it is may be garbage."""
HONEST = (2, 3)
CLIENTS = len(ATTACKERS) + len(HONEST)

_KEPT = 2**16


class Applied(NamedTuple):
    """A batch that a session was given."""

    client: int
    phase: Phase
    step: int
    activation: Tensor
    labels: Tensor


class NotingSession:
    """A back of one layer, trained by SGD from the same weights each time."""

    def __init__(self, hello: Hello, applied: deque[Applied]) -> None:
        self.next_step = 0
        self._hello = hello
        self._applied = applied
        self._back = linear(WIDTH, CLASSES, seed=2)
        self._optimizer = sgd(self._back)
        self._loss = torch.zeros(())

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """Loss and gradient of one batch.

        Raises:
            Refused: without labels.
        """
        if labels is None:
            raise Refused("BAD_LABELS", "each Forward needs labels")
        self._applied.append(Applied(self._hello.client, self._hello.phase, step, activation.clone(), labels))
        leaf = activation.requires_grad_()
        scores = self._back(leaf)
        self._loss = F.cross_entropy(scores, labels)
        self.next_step = step + 1
        correct = int((scores.argmax(1) == labels).sum())
        if self._hello.phase is not Phase.TRAIN:
            return StepResult(self._loss.item(), correct, None)
        (gradient,) = torch.autograd.grad(self._loss, leaf, retain_graph=True)
        return StepResult(self._loss.item(), correct, gradient)

    def update(self) -> None:
        """A step of the optimizer."""
        self._optimizer.zero_grad()
        self._loss.backward(inputs=list(self._back.parameters()))  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def finish(self, steps: int, examples: int) -> None:
        """Nothing is left to do."""


class NotingHost:
    """Takes `CLIENTS` clients of one run in one round; ``applied`` holds what its sessions were given, newest last."""

    classes = CLASSES

    def __init__(self) -> None:
        self.applied: deque[Applied] = deque(maxlen=_KEPT)

    def open(self, hello: Hello) -> NotingSession:
        """A fresh session.

        Raises:
            Refused: another run, round, client or shape.
        """
        if hello.run != RUN:
            raise Refused("UNKNOWN_RUN", f"want {RUN}, got {hello.run!r}")
        if hello.round != ROUND:
            raise Refused("STALE_ROUND", f"want {ROUND}, got {hello.round}")
        if hello.client >= CLIENTS:
            raise Refused("UNKNOWN_CLIENT", f"want below {CLIENTS}, got {hello.client}")
        if hello.shape != (WIDTH,):
            raise Refused("WRONG_SHAPE", f"want ({WIDTH},), got {hello.shape}")
        return NotingSession(hello, self.applied)


def linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    """The same layer each time."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inputs, outputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -0.3, 0.3, generator=generator)
    return layer


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of both ends."""
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
