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
FEATURES = 5
"""How many numbers of an image the server answers with, where labels stay with the client."""
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
    labels: Tensor | None


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


class NotingFeatureSession:
    """The same for a client that keeps its labels; it fails where the wire does not keep what it promises a session."""

    def __init__(self, hello: Hello, applied: deque[Applied]) -> None:
        self.next_step = 0
        self._hello = hello
        self._applied = applied
        self._trunk = linear(WIDTH, FEATURES, seed=3)
        self._optimizer = sgd(self._trunk)
        self._leaf = self._output = self._gradient = torch.zeros(())
        self._expected = "features"

    def features(self, step: int, activation: Tensor) -> Tensor:
        """What the layer makes of one batch."""
        self._comes("features", step)
        self._applied.append(Applied(self._hello.client, self._hello.phase, step, activation.clone(), None))
        self._leaf = activation.requires_grad_()
        self._output = self._trunk(self._leaf)
        if self._hello.phase is Phase.TRAIN:
            self._expected = "backward"
        else:
            self.next_step = step + 1
        return self._output.detach()

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        """The gradient by the activation."""
        self._comes("backward", step)
        if gradient.shape != self._output.shape or not bool(torch.isfinite(gradient).all()):
            raise ValueError(f"a gradient that should have been refused: {gradient}")
        (found,) = torch.autograd.grad(self._output, self._leaf, gradient, retain_graph=True)
        self._gradient = gradient
        self.next_step, self._expected = step + 1, "update"
        return found

    def update(self) -> None:
        """A step of the optimizer."""
        self._comes("update", self.next_step)
        self._optimizer.zero_grad()
        self._output.backward(self._gradient, inputs=list(self._trunk.parameters()))  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._expected = "features"

    def finish(self, steps: int, examples: int) -> None:  # noqa: ARG002
        """Nothing is left to do."""
        self._comes("features", steps)

    def _comes(self, call: str, step: int) -> None:
        if (call, step) != (self._expected, self.next_step):
            raise ValueError(f"{call} of step {step}, where {self._expected} of {self.next_step} was to come")


class NotingHost:
    """Takes `CLIENTS` clients of one run in one round; ``applied`` holds what its sessions were given, newest last."""

    classes = CLASSES

    def __init__(self) -> None:
        self.applied: deque[Applied] = deque(maxlen=_KEPT)

    def open(self, hello: Hello) -> NotingSession | NotingFeatureSession:
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
        return (NotingFeatureSession if hello.keeps_labels else NotingSession)(hello, self.applied)


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
