"""How a back learns from one batch: the loss, the gradients, the optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitfed.defenses import Defense
from splitfed.defenses.base import trainable
from splitfed.wire.session import StepResult

Noise = Callable[[int], torch.Generator]
"""The generator for a step's randomized gradients."""


@dataclass
class BackTrainer:
    """A back with what trains it for one stream.

    Attributes:
        back: activation (B, released) to scores (B, classes).
        optimizer: over the weights of `back`.
        defense: says what the weights' gradients are.
        noise: of this stream.
    """

    back: nn.Module
    optimizer: torch.optim.Optimizer
    defense: Defense
    noise: Noise

    def forward(self, activation: Tensor, labels: Tensor) -> StepResult:
        """Loss and its gradient with respect to the activation."""
        scores = self.output(activation)
        mean_loss = F.cross_entropy(scores, labels)
        (of_scores,) = torch.autograd.grad(mean_loss, scores)
        correct = int((scores.argmax(dim=1) == labels).sum())
        return StepResult(mean_loss.item(), correct, self.gradient(of_scores))

    def output(self, activation: Tensor) -> Tensor:
        """What the back makes of a batch, as a part of the graph."""
        self._leaf = activation.detach().requires_grad_()
        output: Tensor = self.back(self._leaf)
        self._output = output
        return output

    def gradient(self, of_output: Tensor) -> Tensor:
        """The gradient of a loss by the activation, from that by the last `output`."""
        (found,) = torch.autograd.grad(self._output, self._leaf, of_output, retain_graph=True)
        self._of_output = of_output
        return found

    def backward(self, step: int) -> None:
        """The weights' gradients that go with the last `gradient`, in the stream's batch `step`."""
        self.optimizer.zero_grad(set_to_none=True)
        self.defense.backward(self.back, self._leaf, self._output, self._of_output, self.noise(step))

    def finite(self) -> bool:
        """Whether all gradients of the last `backward` are finite."""
        return all(bool(p.grad.isfinite().all()) for p in trainable(self.back) if p.grad is not None)

    def apply(self) -> None:
        """The optimizer's step by these gradients."""
        self.optimizer.step()
