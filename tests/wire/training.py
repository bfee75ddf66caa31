"""Trains the toy network of `hosts` over any link, and whole; what the tests compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.wire.link import Link
from tests.wire.hosts import make_back, make_batches, make_front, sgd


class Trace(NamedTuple):
    """What a training left behind, for comparison to the bit."""

    losses: list[float]
    gradients: list[Tensor]
    weights: list[Tensor]


def train_front(
    link: Link, steps: int, before_step: Callable[[int], object] = lambda _: None
) -> tuple[nn.Module, list[float], list[Tensor]]:
    """A front trained over ``link``, with the losses and gradients that came back."""
    front, losses, gradients = make_front(), [], []
    optimizer = sgd(front)
    batches = make_batches(steps)
    with link:
        for step, (pixels, labels) in enumerate(batches):
            before_step(step)
            activation = front(pixels)
            result = link.forward(step, activation, labels)
            assert result.gradient is not None
            optimizer.zero_grad()
            activation.backward(result.gradient)
            optimizer.step()
            losses.append(result.loss)
            gradients.append(result.gradient)
        link.done(steps, sum(len(labels) for _, labels in batches))
    return front, losses, gradients


def trace(
    link: Link,
    back: Callable[[], nn.Module],
    steps: int,
    before_step: Callable[[int], object] = lambda _: None,
) -> Trace:
    """What training over ``link`` leaves behind, in the front and in ``back()``."""
    front, losses, gradients = train_front(link, steps, before_step)
    return Trace(losses, gradients, weights_of(front, back()))


def trace_whole(steps: int) -> Trace:
    """The same training with nothing between front and back."""
    front, back, losses, gradients = make_front(), make_back(), [], []
    optimizers = [sgd(front), sgd(back)]
    for pixels, labels in make_batches(steps):
        activation = front(pixels)
        activation.retain_grad()
        loss = F.cross_entropy(back(activation), labels)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
        gradients.append(activation.grad)
    return Trace(losses, gradients, weights_of(front, back))


def weights_of(*modules: nn.Module) -> list[Tensor]:
    """All parameters, as values."""
    return [parameter.detach().clone() for module in modules for parameter in module.parameters()]


def same(one: Trace, other: Trace) -> bool:
    """Whether two trainings agree to the bit."""
    pairs = [*zip(one.gradients, other.gradients, strict=True), *zip(one.weights, other.weights, strict=True)]
    return one.losses == other.losses and all(torch.equal(a, b) for a, b in pairs)
