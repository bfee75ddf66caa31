"""The sparse coding architecture (Dibbo et al. 2024, "Improving Robustness to Model Inversion Attacks via Sparse
Coding Architectures", arXiv 2403.14772)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, Finding, TapEvidence
from splitfed.models.front import Front, initialise
from splitfed.models.sparse import learn_dictionary
from splitfed.models.sparse_front import SparseFront
from splitfed.options import Options
from splitfed.types import ImageShape


class SparseCodingOptions(Options):
    """Options of `SparseCodingArchitecture`."""

    sparsity: float = Field(default=0.5, gt=0)
    """λ in the paper's eq. 1, for inputs of unit variance; the paper uses 0.1, 0.25 and 0.5."""
    kernel_size: int = Field(default=5, ge=1, multiple_of=1)
    """Edge of an atom, pixels; the paper uses 5, and 7 for more accuracy."""
    dictionary_rate: float = Field(default=0.05, ge=0)
    """Step of the fast dictionary update after each optimiser step; 0 leaves only the implicit gradient."""
    first_dictionary: str = Field(default="learned", pattern="^(learned|random)$")
    """``learned`` without labels before training (the paper's text), or ``random`` (its code; an ablation)."""
    first_rounds: int = Field(default=3, ge=1)
    """Federated rounds in which the clients learn the first dictionary."""
    first_steps: int = Field(default=10, ge=1)
    """Dictionary steps of each client in each of these rounds."""
    first_batch: int = Field(default=64, ge=1)
    """Images in one of these steps."""


class SparseCodingArchitecture(Defense):
    """Two sparse coding layers with batch norms before the linear layer that is tapped."""

    name = "sca"
    about = "two sparse coding layers before the linear layer that is tapped"
    source = "Dibbo et al. 2024, arXiv 2403.14772"
    Options = SparseCodingOptions
    options: SparseCodingOptions

    def build_front(self, shape: ImageShape, width: int, generator: torch.Generator) -> SparseFront:
        front = SparseFront(
            shape,
            width,
            sparsity=self.options.sparsity,
            kernel_size=self.options.kernel_size,
            dictionary_rate=self.options.dictionary_rate,
            generator=generator,
        )
        initialise(front, generator)
        return front

    def prepare_rounds(self) -> int:
        return self.options.first_rounds if self.options.first_dictionary == "learned" else 0

    def prepare(self, front: Front, pixels: Tensor, generator: torch.Generator) -> None:
        assert isinstance(front, SparseFront)
        learn_dictionary(
            front.first_layer,
            pixels,
            steps=self.options.first_steps,
            batch=min(self.options.first_batch, len(pixels)),
            generator=generator,
        )

    @torch.no_grad()
    def finding(self, evidence: TapEvidence) -> Finding:
        """Nothing but the front's own output was tapped, and its codes are sparse, solved, and of unit atoms."""
        assert isinstance(evidence.front, SparseFront)
        evidence.front(evidence.pixels[:256])
        layers = evidence.front.sparse_layers()
        reports = [layer.report for layer in layers]
        unit = all(
            torch.allclose(layer.dictionary.flatten(1).norm(dim=1), torch.ones(len(layer.dictionary)), atol=1e-3)
            for layer in layers
        )
        sparse = all(0.0 < report.density < 0.5 for report in reports)
        solved = all(report.converged for report in reports)
        described = "; ".join(
            f"layer {number}: {report.density:.1%} of codes active, relative gap {report.relative_gap:.1e}"
            for number, report in enumerate(reports, start=1)
        )
        detail = f"{described}; atoms {'of' if unit else 'NOT of'} unit norm"
        return Finding(sparse and solved and unit, detail)
