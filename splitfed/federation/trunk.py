"""The server's side where labels and the last layer stay with the client: all layers of the back but the last, whose
output goes back to the client (U-shaped split learning, Vepakomma et al. 2018, arXiv 1812.00564)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splitfed.errors import Refused
from splitfed.federation.back_trainer import BackTrainer
from splitfed.federation.tally import Tally, check_open, finish


class TrunkSession:
    """One client's stream in a training round, with its own copy of the server's layers."""

    def __init__(self, trainer: BackTrainer) -> None:
        self.next_step = 0
        self.back = trainer.back
        self.tally = Tally()
        self._trainer = trainer

    def features(self, step: int, activation: Tensor) -> Tensor:  # noqa: ARG002 - the wire has checked it
        """What the layers make of a batch, (B, d)."""
        check_open(self.tally)
        return self._trainer.output(activation).detach()

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        """The gradient by the activation; the weights' gradients can wait for `update`."""
        check_open(self.tally)
        self.tally.examples += len(gradient)
        self.next_step = step + 1
        return self._trainer.gradient(gradient)

    def update(self) -> None:
        """The weights' gradients of the last `backward`, and the optimizer's step, while the client goes on."""
        self._trainer.backward(self.next_step - 1)
        self._trainer.apply()

    def finish(self, steps: int, examples: int) -> None:
        """The client has sent all that it has."""
        finish(self.tally, self.next_step, steps, examples)


class TrunkEvaluateSession:
    """One client's stream through the averaged layers; nothing is changed."""

    def __init__(self, trunk: nn.Module) -> None:
        self.next_step = 0
        self.tally = Tally()
        self._trunk = trunk

    @torch.no_grad()
    def features(self, step: int, activation: Tensor) -> Tensor:
        """What the layers make of a batch, (B, d)."""
        check_open(self.tally)
        self.tally.examples += len(activation)
        self.next_step = step + 1
        features: Tensor = self._trunk(activation)
        return features

    def backward(self, step: int, gradient: Tensor) -> Tensor:  # noqa: ARG002
        """No evaluation has a gradient.

        Raises:
            Refused: always.
        """
        raise Refused("OUT_OF_ORDER", f"step {step}: nothing is trained in this phase")

    def update(self) -> None:
        """An evaluation moves no weights."""

    def finish(self, steps: int, examples: int) -> None:
        """The client has sent all that it has."""
        finish(self.tally, self.next_step, steps, examples)
