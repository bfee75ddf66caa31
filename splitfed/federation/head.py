"""How a client takes a step: the server computes the loss, or the client itself, with the last layer and the labels
(U-shaped split learning, Vepakomma et al. 2018, arXiv 1812.00564)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitfed.defenses import Defense
from splitfed.wire.link import Link
from splitfed.wire.session import StepResult

TakeStep = Callable[[Link, int, Tensor, Tensor], StepResult]
"""From an activation (B, released), detached, and its labels to loss, correct images and the gradient."""


def held(front: nn.Module, head: nn.Module | None) -> nn.Module:
    """What a participant holds, and the strategy averages: the front, and the head where it is the client's."""
    return front if head is None else nn.ModuleDict({"front": front, "head": head})


def at_the_server(link: Link, step: int, activation: Tensor, labels: Tensor) -> StepResult:
    """A step whose loss the server computes, from labels that travel."""
    return link.forward(step, activation, labels)


class TrainedHead:
    """A step of training whose loss the client computes, and from which its head learns.

    Args:
        head: features (B, d) to class scores (B, classes); it belongs to one round.
        optimizer: over the weights of `head`.
        defense: says what the weights' gradients are.
        noise: step to the generator for randomized gradients.
    """

    def __init__(
        self,
        head: nn.Module,
        optimizer: torch.optim.Optimizer,
        defense: Defense,
        noise: Callable[[int], torch.Generator],
    ) -> None:
        self._head, self._optimizer, self._defense, self._noise = head, optimizer, defense, noise

    def __call__(self, link: Link, step: int, activation: Tensor, labels: Tensor) -> StepResult:
        """Loss, correct images, and the gradient by the activation."""
        with torch.enable_grad():
            features = link.features(step, activation).requires_grad_()
            scores = self._head(features)
            mean_loss = F.cross_entropy(scores, labels)
            (of_scores,) = torch.autograd.grad(mean_loss, scores)
            (of_features,) = torch.autograd.grad(scores, features, of_scores, retain_graph=True)
        gradient = link.backward(step, of_features)
        self._optimizer.zero_grad(set_to_none=True)
        self._defense.backward(self._head, features, scores, of_scores, self._noise(step))
        self._optimizer.step()
        return StepResult(mean_loss.item(), _correct(scores, labels), gradient)


class EvaluatedHead:
    """A step of an evaluation whose loss the client computes; nothing is changed."""

    def __init__(self, head: nn.Module) -> None:
        self._head = head

    @torch.no_grad()
    def __call__(self, link: Link, step: int, activation: Tensor, labels: Tensor) -> StepResult:
        """Loss and correct images."""
        scores = self._head(link.features(step, activation))
        return StepResult(F.cross_entropy(scores, labels).item(), _correct(scores, labels), None)


def _correct(scores: Tensor, labels: Tensor) -> int:
    return int((scores.argmax(dim=1) == labels).sum())
