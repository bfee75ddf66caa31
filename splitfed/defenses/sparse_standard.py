"""The ablation "Sparse-Standard" of Dibbo et al. 2024 (arXiv 2403.14772): one sparse layer, else a plain front."""

from __future__ import annotations

import torch

from splitfed.defenses.sparse_stem import SparseStemDefense, SparseStemOptions
from splitfed.models.front import FrontSpec, initialize
from splitfed.models.sparse_standard_front import SparseStandardFront


class SparseStandard(SparseStemDefense):
    """One sparse coding layer before the linear layer that is tapped; its dictionary never changes in training."""

    name = "sparse_standard"
    about = "one sparse coding layer before the linear layer that is tapped"
    source = "Dibbo et al. 2024, arXiv 2403.14772"
    Options = SparseStemOptions
    options: SparseStemOptions

    def build_front(self, spec: FrontSpec, generator: torch.Generator) -> SparseStandardFront:
        front = SparseStandardFront(
            spec.shape,
            spec.width,
            spec.hidden_layers,
            l1_weight=self.options.l1_weight,
            kernel_size=self.options.kernel_size,
            generator=generator,
        )
        initialize(front, generator)
        return front
