"""The classifier as the attacker reaches it: by gradients, by probabilities, or by labels, and how often it was asked.

The attacker counts and keeps to its budget itself; whoever serves the classifier counts as well. A target is any
callable: images (B, C, H, W) in [0, 1] to what the access allows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from splitfed.errors import AttackError

Access = Literal["gradients", "query", "label"]
"""``gradients``: logits (B, K), differentiably, through the classifier's own weights, as the method was published; an
upper bound. ``query``: probabilities (B, K). ``label``: the most likely class, int64, (B,)."""
Classifier = Callable[[Tensor], Tensor]
ROUNDING = 1e-2
"""By how much probabilities may miss a sum of 1; half precision and rounded answers do."""


class BudgetExhausted(AttackError):
    """No question is left. A target that counts may raise it, too: the attack then ends with what it has."""


class Oracle:
    """Asks a target, counts the images that it asked about, and refuses to ask beyond a budget.

    Args:
        target: what is asked.
        access: what it answers.
        classes: K.
        budget: images that may be asked about; None for no limit.
    """

    def __init__(self, target: Classifier, access: Access, classes: int, budget: int | None = None) -> None:
        self.access: Access = access
        self.classes = classes
        self.budget = budget
        self.asked = 0
        """Images so far."""
        self._target = target

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """What the target says of images, float32, (B, K); of labels alone, 1 for the class that it names.

        Raises:
            BudgetExhausted: there are fewer questions left; none of these images was asked about.
            AttackError: an answer that is none.
        """
        answer = self._ask(images)
        if self.access == "label":
            return F.one_hot(self._labels(answer, len(images)), self.classes).float()
        if self.access == "gradients":
            return self._rows(answer, len(images)).softmax(dim=1)
        rows = self._rows(answer, len(images))
        if float(rows.min()) < 0 or float((rows.sum(dim=1) - 1).abs().max()) > ROUNDING:
            raise AttackError(
                f"the target's answers are no probabilities: they lie in [{float(rows.min()):.3g}, "
                f"{float(rows.max()):.3g}]; give the softmax of its scores"
            )
        return rows

    def logits(self, images: Tensor) -> Tensor:
        """The target's scores (B, K), differentiably; of ``gradients`` access alone.

        Raises:
            BudgetExhausted, AttackError: as above.
        """
        if self.access != "gradients":
            raise AttackError(f"the access is {self.access!r}, which gives no gradients")
        return self._rows(self._ask(images), len(images))

    def reserve(self, images: int) -> None:
        """Whether so many more images may be asked about.

        Raises:
            BudgetExhausted: they may not.
        """
        if self.budget is not None and self.asked + images > self.budget:
            raise BudgetExhausted(
                f"the query budget of {self.budget:,} is exhausted: {self.asked:,} asked, {images:,} more wanted; "
                "raise query_budget, or lower pool_size, candidates, or transforms"
            )

    def _ask(self, images: Tensor) -> Tensor:
        self.reserve(len(images))
        self.asked += len(images)
        return self._target(images)

    def _rows(self, answer: Tensor, count: int) -> Tensor:
        if tuple(answer.shape) != (count, self.classes) or not answer.is_floating_point():
            raise AttackError(
                f"the target gave {tuple(answer.shape)} of {answer.dtype} for {count} images; expected "
                f"{(count, self.classes)} floats: one row each, one number per class"
            )
        if not bool(answer.isfinite().all()):
            raise AttackError("the target gave NaN or infinity; it has diverged, or was fed what it does not take")
        return answer.float()

    def _labels(self, answer: Tensor, count: int) -> Tensor:
        whole = not answer.is_floating_point() and tuple(answer.shape) == (count,)
        if not whole or (count and not (int(answer.min()) >= 0 and int(answer.max()) < self.classes)):
            raise AttackError(
                f"the target gave {tuple(answer.shape)} of {answer.dtype} for {count} images; expected {(count,)} "
                f"whole numbers below {self.classes}: the label of each"
            )
        return answer.long()
