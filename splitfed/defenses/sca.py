"""The sparse coding architecture (Dibbo et al. 2024, "Improving Robustness to Model Inversion Attacks via Sparse
Coding Architectures", arXiv 2403.14772)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from splitfed.defenses.sparse_stem import SparseStemDefense, SparseStemOptions
from splitfed.models.front import FrontSpec, initialize
from splitfed.models.sparse_front import SparseFront


class SparseCodingOptions(SparseStemOptions):
    """Options of `SparseCodingArchitecture`."""

    second_l1_weight: float | None = Field(default=None, gt=0)
    """λ of the second sparse layer, where it is to be another than `l1_weight`."""
    downstream: Literal["linear", "convolutional"] = "linear"
    """What stands between the sparse layers and the linear layer that is tapped: nothing, or Conv(5×5), ReLU and
    MaxPool(2), as in the paper's networks for color images."""
    dictionary_rate: float = Field(default=0.2, ge=0)
    """Step of the fast dictionary update after each optimizer step, as a share of the way to each atom's best fit to
    the batch. 0 leaves only the implicit gradient; at 0.05 the second layer's codes stay several times denser."""


class SparseCodingArchitecture(SparseStemDefense):
    """Two sparse coding layers with batch norms before the linear layer that is tapped."""

    name = "sca"
    about = "two sparse coding layers before the linear layer that is tapped"
    source = "Dibbo et al. 2024, arXiv 2403.14772"
    Options = SparseCodingOptions
    options: SparseCodingOptions

    def build_front(self, spec: FrontSpec, generator: torch.Generator) -> SparseFront:
        front = sparse_front(spec, self.options, generator)
        initialize(front, generator)
        return front


def sparse_front(spec: FrontSpec, options: SparseCodingOptions, generator: torch.Generator) -> SparseFront:
    """The architecture's front, its dictionaries drawn, its linear layers not yet."""
    return SparseFront(
        spec.shape,
        spec.width,
        spec.hidden_layers,
        l1_weight=options.l1_weight,
        second_l1_weight=options.second_l1_weight,
        kernel_size=options.kernel_size,
        dictionary_rate=options.dictionary_rate,
        convolutional=options.downstream == "convolutional",
        generator=generator,
    )
