"""A layer's dictionary, learned from images without labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from splitfed.models.sparse.layer import SparseCodingLayer

_LEARNING_RATE = 0.5


def learn_dictionary(
    layer: SparseCodingLayer,
    images: Tensor,
    *,
    steps: int,
    batch_size: int,
    generator: torch.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Learn a layer's dictionary from images, without labels: code a batch, move the atoms, and again.

    Args:
        layer: its dictionary is changed in place.
        images: pixels (N, C, H, W), in any range.
        steps: batches to learn from.
        batch_size: images per step, drawn with replacement between steps; all of them where there are fewer.
        generator: draws the batches, on the CPU.
        progress: called with the steps done and ``steps``.
    """
    for step in range(steps):
        chosen = torch.randperm(len(images), generator=generator)[:batch_size]
        with torch.no_grad():
            x = images[chosen]
            layer.update_dictionary(x, layer(x), rate=_LEARNING_RATE)
        if progress is not None:
            progress(step + 1, steps)
