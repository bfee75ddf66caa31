"""SplitFed v2 (Thapa et al. 2022, arXiv 2004.12088): one back, which the steps of all clients update one by one.

A step is taken whole before its answer leaves: the forward pass, the gradient by the activation and the update of the
weights, under one lock. So no other client's step comes between, and nobody waits for a client: not for one that dies
with its answer on the way, nor for one that never reads it.
"""

from __future__ import annotations

import threading

from torch import Tensor

from splitfed.errors import Refused
from splitfed.federation.back_trainer import BackTrainer
from splitfed.federation.tally import Tally, check_open, finish, required
from splitfed.wire.checks import is_finite
from splitfed.wire.session import StepResult


class Turns:
    """Whose step it is: one at a time, until the round is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False

    def take(self, session: SharedSession, step: int, activation: Tensor, labels: Tensor) -> StepResult:
        """This session's step, while no other one takes any.

        Raises:
            Refused: the round is closed, or the step would leave the back with numbers that are not finite.
        """
        with self._lock:
            if self._closed:
                raise Refused("STALE_ROUND", "you are late: I have gone on without you")
            return session.take(step, activation, labels)

    def close(self) -> None:
        """From here on no step is taken; one that is under way is awaited."""
        with self._lock:
            self._closed = True


class SharedSession:
    """One client's stream in a training round, on the back that all clients train.

    What it has updated stays, whatever becomes of its client.
    """

    def __init__(self, trainer: BackTrainer, turns: Turns) -> None:
        self.next_step = 0
        self.tally = Tally()
        self._trainer = trainer
        self._turns = turns

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """Loss and its gradient with respect to the activation; the back has learned from the batch then.

        Raises:
            Refused: see `Turns.take`.
        """
        check_open(self.tally)
        return self._turns.take(self, step, activation, required(labels))

    def take(self, step: int, activation: Tensor, labels: Tensor) -> StepResult:
        """The step itself; `Turns` calls it.

        What is not finite would spoil the back for everybody, and is never applied. Loss and gradient are returned all
        the same: the wire refuses what is not finite, and gives the session up.
        """
        result = self._trainer.forward(activation, labels)
        if is_finite(result):
            self._trainer.backward(step)
            if not self._trainer.finite():
                why = "the gradients of the weights are not finite; lower the learning rate"
                raise Refused("NOT_FINITE", f"step {step}: training diverged, {why}")
            self._trainer.apply()
        self.tally.add(result.loss, result.correct, len(activation))
        self.next_step = step + 1
        return result

    def update(self) -> None:
        """The back was updated in `forward`."""

    def finish(self, steps: int, examples: int) -> None:
        """The client has sent all that it has."""
        finish(self.tally, self.next_step, steps, examples)
