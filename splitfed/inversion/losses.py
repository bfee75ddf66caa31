"""What is minimized over latents: how far the classifier is from the wanted class, (B,), from logits (B, K).

Where only probabilities are known, `centered` stands in for logits: log p misses them by a number per image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from splitfed.errors import UserError

SHRINK = 1e-4
"""How far the wanted corner lies inside the ball (Struppek et al.): on its edge distances are infinite."""
EDGE = 1e-6
"""The least distance from the edge that is told apart in single precision."""
LEAST_PROBABILITY = 1e-12


def poincare(logits: Tensor, wanted: Tensor) -> Tensor:
    """The distance in the Poincaré ball from the logits, scaled to a 1-norm of 1, to the wanted class's corner.

        arccosh(1 + 2·‖u − v‖² / ((1 − ‖u‖²)·(1 − ‖v‖²))), u = logits / ‖logits‖₁, v = clip(onehot − 1e-4, 0, 1).

    It goes on to tell images apart where a cross-entropy has no gradient left. Its scale is that of the logits' shape,
    not of their size.

    Source: Struppek et al. 2022, eq. 4; Nickel and Kiela 2017 for the distance.
    """
    u = logits / logits.abs().sum(dim=1, keepdim=True).clamp_min(EDGE)
    v = (F.one_hot(wanted, logits.shape[1]).to(logits) - SHRINK).clamp(0, 1)
    inside_u = (1 - u.square().sum(dim=1)).clamp_min(EDGE)
    inside_v = 1 - v.square().sum(dim=1)
    apart = (u - v).square().sum(dim=1)
    return torch.acosh(1 + 2 * apart.clamp_min(EDGE) / (inside_u * inside_v))


def max_margin(logits: Tensor, wanted: Tensor) -> Tensor:
    """The largest other logit minus the wanted one (Yuan et al. 2023, arXiv 2302.09814, eq. 8); unbounded below."""
    own = logits.gather(1, wanted[:, None])[:, 0]
    others = logits.scatter(1, wanted[:, None], -torch.inf)
    return others.amax(dim=1) - own


def cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Minus the logarithm of the wanted class's probability, nats."""
    return F.cross_entropy(logits, wanted, reduction="none")


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "poincare": poincare,
    "max_margin": max_margin,
    "cross_entropy": cross_entropy,
}
"""By the name that options use."""


def centered(probabilities: Tensor) -> Tensor:
    """log p minus its mean over classes, (B, K): logits but for a number per image, which no loss here needs but one.

    >>> centered(torch.tensor([[0.8, 0.2]])).exp().prod().round(decimals=5).item()
    1.0
    """
    logs = probabilities.clamp_min(LEAST_PROBABILITY).log()
    return logs - logs.mean(dim=1, keepdim=True)


def check_two_classes(loss: str, classes: int) -> None:
    """Whether a loss has a gradient on centered logits of so few classes.

    Raises:
        UserError: of two classes, centered, one is minus the other, and scaled to a 1-norm of 1 they are constants.
    """
    if loss == "poincare" and classes == 2:
        raise UserError(
            'loss = "poincare" has no gradient where two classes are known by their probabilities; '
            'set loss = "max_margin"'
        )
