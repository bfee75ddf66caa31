"""Dictionaries: where they start, and how they learn from what they fail to rebuild."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from splitfed.models.sparse.problem import Atoms

if TYPE_CHECKING:
    from splitfed.models.sparse.layer import SparseCodingLayer

_LEARNING_RATE = 0.5


def random_dictionary(features: int, channels: int, kernel_size: int, generator: torch.Generator | None) -> Tensor:
    """Atoms of unit norm in random directions, (F, C, k, k), float32."""
    return unit_norm(torch.randn(features, channels, kernel_size, kernel_size, generator=generator))


def unit_norm(dictionary: Tensor) -> Tensor:
    """The dictionary with each atom scaled to norm 1; an atom of zeros stays one."""
    norms: Tensor = torch.linalg.vector_norm(dictionary, dim=(1, 2, 3), keepdim=True).clamp_min(
        torch.finfo(dictionary.dtype).tiny
    )
    return dictionary / norms


def dictionary_step(atoms: Atoms, canvas: Tensor, codes: Tensor) -> Tensor:
    """ΔΩ ∝ corr(R, X − R ⊛ Ω), the direction of the fast dictionary update (arXiv 2403.14772, section 3).

    An atom's step is divided by how much the batch used it, plus the mean use of all atoms: a rate of 1 then
    moves a well-used atom about as far as its best fit, whatever the size of the batch, and one that fired once
    is not torn away by a single sample. An atom that was not used does not move.
    """
    residual = canvas - atoms.synthesise(codes)
    use = codes.square().sum((0, 2, 3))
    scale = (use + use.mean()).clamp_min(torch.finfo(use.dtype).tiny)
    return atoms.correlate(codes, residual) / scale.view(-1, 1, 1, 1)


def learn_dictionary(
    layer: SparseCodingLayer,
    images: Tensor,
    *,
    steps: int,
    batch: int,
    generator: torch.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Learn a layer's dictionary from images, without labels: code a batch, move the atoms, and again.

    Args:
        layer: its dictionary is changed in place.
        images: pixels (N, C, H, W), in any range.
        steps: batches to learn from.
        batch: images per step, drawn with replacement between steps; all of them where there are fewer.
        generator: draws the batches, on the CPU.
        progress: called with the steps done and ``steps``.
    """
    for step in range(steps):
        chosen = torch.randperm(len(images), generator=generator)[:batch]
        with torch.no_grad():
            x = images[chosen]
            layer.update_dictionary(x, layer(x), rate=_LEARNING_RATE)
        if progress is not None:
            progress(step + 1, steps)
