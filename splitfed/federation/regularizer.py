"""The extra term that a defense adds to a client's loss: its gradient in each step, and what it came to."""

from __future__ import annotations

import torch

from splitfed.defenses import Defense
from splitfed.defenses.base import Figures, TrainingBatch, trainable
from splitfed.errors import SplitfedError


class Regularizer:
    """One round of `Defense.regularizer`."""

    def __init__(self, defense: Defense) -> None:
        self._defense = defense
        self._sum = 0.0
        self._steps = 0
        self._gradient_norm = 0.0

    def backward(self, batch: TrainingBatch) -> None:
        """Add the term's gradients to the front's, which hold none yet.

        Raises:
            SplitfedError: the term is no finite scalar.
        """
        term = self._defense.regularizer(batch)
        if term is None:
            return
        if term.numel() != 1 or not torch.isfinite(term):
            raise SplitfedError(
                f"defense {self._defense.name}: its regularizer is {term.detach().tolist()}; expected one finite "
                "number. Lower its weight or the learning rate, or mend the defense"
            )
        if term.requires_grad:
            term.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        if self._steps == 0:
            self._gradient_norm = _norm(batch)
        self._sum += float(term.detach())
        self._steps += 1

    def measures(self) -> Figures:
        """The mean term, and the norm of its gradient in the first step; nothing where there is no term."""
        if not self._steps:
            return {}
        return {"regularizer": self._sum / self._steps, "penalty_gradient_norm": self._gradient_norm}


def _norm(batch: TrainingBatch) -> float:
    gradients = [p.grad for p in trainable(batch.front.body) if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
