"""What a client may send: a tensor as its codec writes it, or the reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from splitfed.errors import FrameError
from splitfed.wire.codec import CODECS, Encoded, all_finite

if TYPE_CHECKING:
    from torch import Tensor

    from splitfed.wire.session import Hello


def encode(hello: Hello, step: int, activation: Tensor, labels: Tensor | None) -> Encoded:
    """An activation as its codec writes it, if it may be sent at all.

    Raises:
        FrameError: wrong shape or dtype, a NaN or an infinity, a negative label.
    """
    activation = activation.detach()
    if problem := _problem(hello, activation, labels):
        raise FrameError(f"{hello} step {step}: {problem}")
    return CODECS[hello.codec].encode(activation)


def _problem(hello: Hello, activation: Tensor, labels: Tensor | None) -> str | None:
    """Why this batch may not be sent, or None."""
    if tuple(activation.shape[1:]) != hello.shape or activation.dtype is not torch.float32:
        want = ", ".join(["B", *map(str, hello.shape)])
        return f"want an activation ({want}) float32, got {tuple(activation.shape)} {activation.dtype}"
    if not all_finite(activation):
        return "the activation has a NaN or an infinity; it was not sent"
    if labels is not None and int(labels.min()) < 0:
        return f"a label is {int(labels.min())}; labels start at 0"
    return None


def encode_gradient(hello: Hello, step: int, gradient: Tensor) -> Encoded:
    """A gradient by the features as its codec writes it.

    Raises:
        FrameError: a NaN or an infinity.
    """
    if not all_finite(gradient):
        why = "the gradient by the features has a NaN or an infinity; it was not sent; lower the learning rate"
        raise FrameError(f"{hello} step {step}: {why}")
    return CODECS[hello.codec].encode(gradient.detach())
