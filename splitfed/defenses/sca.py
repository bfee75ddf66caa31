"""The sparse coding architecture (Dibbo et al. 2024, "Improving Robustness to Model Inversion Attacks via Sparse
Coding Architectures", arXiv 2403.14772)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, TapEvidence
from splitfed.metrics.findings import Finding, is_identity
from splitfed.models.front import Front, FrontSpec, initialise
from splitfed.models.sparse import SparseCodingLayer, learn_dictionary
from splitfed.models.sparse_front import SparseFront
from splitfed.options import Options

CHECKED_IMAGES = 256
"""How many images the gate encodes once more."""

MAX_DENSITY = 0.5
"""A code with more active coefficients than this is not sparse."""


class SparseCodingOptions(Options):
    """Options of `SparseCodingArchitecture`."""

    sparsity: float = Field(default=0.5, gt=0)
    """λ in the paper's eq. 1, for inputs of unit variance; the paper uses 0.1, 0.25 and 0.5."""
    kernel_size: int = Field(default=5, ge=1, multiple_of=1)
    """Edge of an atom, pixels; the paper uses 5, and 7 for more accuracy."""
    dictionary_rate: float = Field(default=0.2, ge=0)
    """Step of the fast dictionary update after each optimiser step, as a share of the way to each atom's best fit to
    the batch. 0 leaves only the implicit gradient; at 0.05 the second layer's codes stay several times denser."""
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

    def build_front(self, spec: FrontSpec, generator: torch.Generator) -> SparseFront:
        front = SparseFront(
            spec.shape,
            spec.width,
            spec.hidden_layers,
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
    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """Codes are sparse and solved, atoms of unit norm, and nothing but the front's output was tapped."""
        assert isinstance(evidence.front, SparseFront)
        evidence.front(evidence.pixels[:CHECKED_IMAGES])
        layers = evidence.front.sparse_layers()
        found = [is_identity(evidence.tapped, evidence.clean)]
        for number, layer in enumerate(layers, start=1):
            found += _layer_findings(f"sparse layer {number}", layer)
        return found


def _layer_findings(name: str, layer: SparseCodingLayer) -> list[Finding]:
    report = layer.report
    longest = (layer.dictionary.flatten(1).norm(dim=1) - 1).abs().max().item()
    return [
        Finding(0 < report.density < MAX_DENSITY, f"{name}: {report.density:.1%} of the codes are active"),
        Finding(report.converged, f"{name}: relative duality gap {report.relative_gap:.1e}"),
        Finding(longest < 1e-3, f"{name}: atoms are of unit norm to {longest:.1e}"),
    ]
