"""What one stream has come to at the server, and what every session asks of its client."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from splitfed.errors import Refused


@dataclass
class Tally:
    """Sums over one stream."""

    loss_sum: float = 0.0
    correct: int = 0
    examples: int = 0
    finished: bool = False
    over: bool = False
    """Whether the server has gone on to something else."""

    def add(self, loss: float, correct: int, examples: int) -> None:
        """Count one batch with this mean loss."""
        self.loss_sum += loss * examples
        self.correct += correct
        self.examples += examples


def required(labels: Tensor | None) -> Tensor:
    """The labels of a batch whose loss the server computes.

    Raises:
        Refused: there are none.
    """
    if labels is None:
        raise Refused("BAD_LABELS", "this server computes the loss: each Forward needs labels")
    return labels


def check_open(tally: Tally) -> None:
    """Refuse what comes for a phase that is over.

    Raises:
        Refused: STALE_ROUND.
    """
    if tally.over:
        raise Refused("STALE_ROUND", "you are late: I have gone on without you")


def finish(tally: Tally, steps: int, said_steps: int, said_examples: int) -> None:
    """The client has sent all that it has, of which `steps` batches have arrived.

    Raises:
        Refused: it is late, or says other numbers than those that arrived, or none at all.
    """
    check_open(tally)
    if (steps, tally.examples) != (said_steps, said_examples):
        raise Refused(
            "OUT_OF_ORDER",
            f"the client says {said_steps} steps and {said_examples} examples, received {steps} and {tally.examples}",
        )
    if not tally.examples:
        raise Refused("OUT_OF_ORDER", "the client says that it is through, and has sent no image")
    tally.finished = True
