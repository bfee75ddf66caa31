"""Dictionaries: where they start, and which way they move to rebuild better."""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.models.sparse.problem import Atoms


def random_dictionary(
    out_channels: int, in_channels: int, kernel_size: int, generator: torch.Generator | None
) -> Tensor:
    """Atoms of unit norm in random directions, (F, C, k, k), float32."""
    return unit_norm(torch.randn(out_channels, in_channels, kernel_size, kernel_size, generator=generator))


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
    residual = canvas - atoms.synthesize(codes)
    use = codes.square().sum((0, 2, 3))
    scale = (use + use.mean()).clamp_min(torch.finfo(use.dtype).tiny)
    return atoms.correlate(codes, residual) / scale.view(-1, 1, 1, 1)
