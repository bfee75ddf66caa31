"""A host whose clients keep their labels and the last layer; the network is the one of `hosts` with a layer more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.types import Phase
from splitfed.wire.link import Link
from splitfed.wire.session import Hello
from tests.wire.hosts import CLASSES, WIDTH, _linear, hello, make_back, make_batches, make_front, sgd
from tests.wire.training import Trace, weights_of

Trouble = Callable[[str], None]


def keeps(**changes: object) -> Hello:
    """The usual introduction of a client that keeps its labels, with changes."""
    return hello(keeps_labels=True, **changes)


def make_trunk() -> nn.Module:
    """The same server's part each time."""
    return nn.Sequential(_linear(WIDTH, WIDTH, seed=4), nn.ReLU())


class HalvesSession:
    """The server's side of one stream, which notes what was asked of it, and has trouble where a test wants it."""

    def __init__(self, phase: Phase, trouble: Trouble) -> None:
        self.next_step = 0
        self.trunk = make_trunk()
        self.calls: list[str] = []
        self._phase, self._trouble = phase, trouble
        self._optimizer = sgd(self.trunk)

    def features(self, step: int, activation: Tensor) -> Tensor:
        self._note(f"features {step}")
        self.next_step += self._phase is not Phase.TRAIN
        self._leaf = activation.requires_grad_()
        output: Tensor = self.trunk(self._leaf)
        self._output = output
        return output.detach()

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        self._note(f"backward {step}")
        self.next_step += 1
        (found,) = torch.autograd.grad(self._output, self._leaf, gradient, retain_graph=True)
        self._gradient = gradient
        return found

    def update(self) -> None:
        self._note(f"update {self.next_step - 1}")
        self._optimizer.zero_grad()
        self._output.backward(self._gradient, inputs=list(self.trunk.parameters()))  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def finish(self, steps: int, examples: int) -> None:
        self._note(f"finish {steps} {examples}")

    def _note(self, call: str) -> None:
        self._trouble(call)
        self.calls.append(call)


@dataclass
class HalvesHost:
    """Takes any client in any round."""

    classes: int = CLASSES
    trouble: Trouble = lambda _: None
    sessions: dict[int, HalvesSession] = field(default_factory=dict)
    opened: int = 0

    def open(self, asked: Hello) -> HalvesSession:
        assert asked.keeps_labels
        self.opened += 1
        session = self.sessions[asked.client] = HalvesSession(asked.phase, lambda now: self.trouble(now))
        return session


def trace_halves(link: Link, trunk: Callable[[], nn.Module], steps: int) -> Trace:
    """What training over ``link`` leaves behind: in the front, in ``trunk()`` and in the head."""
    front, head, losses, gradients = make_front(), make_back(), [], []
    optimizers = [sgd(front), sgd(head)]
    with link:
        for step, (pixels, labels) in enumerate(make_batches(steps)):
            activation = front(pixels)
            features = link.features(step, activation).requires_grad_()
            loss = F.cross_entropy(head(features), labels)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            assert features.grad is not None
            gradient = link.backward(step, features.grad)
            activation.backward(gradient)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
            gradients.append(gradient)
        link.done(steps, 5 * steps)
    return Trace(losses, gradients, weights_of(front, trunk(), head))


def trace_halves_whole(steps: int) -> Trace:
    """The same training with nothing between the parts."""
    parts, losses, gradients = [make_front(), make_trunk(), make_back()], [], []
    optimizers = [sgd(part) for part in parts]
    front, trunk, head = parts
    for pixels, labels in make_batches(steps):
        activation = front(pixels)
        activation.retain_grad()
        loss = F.cross_entropy(head(trunk(activation)), labels)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
        gradients.append(activation.grad)
    return Trace(losses, gradients, weights_of(*parts))
