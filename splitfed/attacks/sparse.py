"""What attacks read of a front's sparse coding layers."""

from __future__ import annotations

from torch import nn

from splitfed.models.sparse import SparseCodingLayer


def first_sparse_layer(front: nn.Module) -> SparseCodingLayer | None:
    """The front's sparse coding layer that sees the image, or None where it has none."""
    return next((module for module in front.modules() if isinstance(module, SparseCodingLayer)), None)
