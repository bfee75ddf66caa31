"""A small but real host for the tests of the wire: two linear layers, cut in the middle, trained by SGD."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.errors import Refused
from splitfed.types import Phase
from splitfed.wire.proof import client_token
from splitfed.wire.session import Hello, StepResult

CLASSES = 3
PIXELS = 12
WIDTH = 7
RUN = "toy"
SECRET = "let them in"


def hello(**changes: object) -> Hello:
    """The usual introduction, with changes."""
    usual = {"run": RUN, "round": 1, "client": 0, "phase": Phase.TRAIN, "shape": (WIDTH,)}
    values = usual | changes
    token = client_token(SECRET, cast("int", values["client"]))
    return Hello(**({"token": token} | values))  # type: ignore[arg-type]


def make_front() -> nn.Module:
    """The same front each time."""
    return nn.Sequential(_linear(PIXELS, WIDTH, seed=1), nn.ReLU())


def make_back() -> nn.Linear:
    """The same back each time."""
    return _linear(WIDTH, CLASSES, seed=2)


def _linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)  # torch's own is shared by all threads
    layer = nn.Linear(inputs, outputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -0.3, 0.3, generator=generator)
    return layer


def make_batches(steps: int, batch: int = 5) -> list[tuple[Tensor, Tensor]]:
    """The same pixels and labels each time."""
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.rand(batch, PIXELS, generator=generator),
            torch.randint(CLASSES, (batch,), generator=generator),
        )
        for _ in range(steps)
    ]


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that all sides use."""
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)


class ToySession:
    """The back's side of one stream, which notes what was asked of it."""

    def __init__(self, phase: Phase) -> None:
        self.next_step = 0
        self.back = make_back()
        self.loss = torch.zeros(())
        self.seen: list[Tensor] = []
        self.calls: list[str] = []
        self._phase = phase
        self._optimizer = sgd(self.back)

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        assert labels is not None
        self.calls.append(f"forward {step}")
        self.seen.append(activation.clone())
        self.next_step += 1
        leaf = activation.requires_grad_()
        scores = self.back(leaf)
        self.loss = F.cross_entropy(scores, labels)
        correct = int((scores.argmax(1) == labels).sum())
        if self._phase is not Phase.TRAIN:
            return StepResult(self.loss.item(), correct, None)
        (gradient,) = torch.autograd.grad(self.loss, leaf, retain_graph=True)
        return StepResult(self.loss.item(), correct, gradient)

    def update(self) -> None:
        self.calls.append("update")
        self._optimizer.zero_grad()
        self.loss.backward(inputs=list(self.back.parameters()))  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def finish(self, steps: int, examples: int) -> None:
        self.calls.append(f"finish {steps} {examples}")


@dataclass
class ToyHost:
    """Takes clients 0 to 2 of one run in one round."""

    classes: int = CLASSES
    round: int = 1
    sessions: dict[int, ToySession] = field(default_factory=dict)
    opened: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, hello: Hello) -> ToySession:
        if hello.run != RUN:
            raise Refused("UNKNOWN_RUN", f"want {RUN}, got {hello.run}")
        if hello.round != self.round:
            raise Refused("STALE_ROUND", f"want {self.round}, got {hello.round}")
        if hello.client > 2:
            raise Refused("UNKNOWN_CLIENT", f"want 0 to 2, got {hello.client}")
        if hello.shape != (WIDTH,):
            raise Refused("WRONG_SHAPE", f"want ({WIDTH},), got {hello.shape}")
        with self._lock:
            self.opened += 1
            session = self.sessions[hello.client] = ToySession(hello.phase)
        return session
