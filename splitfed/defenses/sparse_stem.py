"""What the defenses share whose front begins with a sparse coding layer (Dibbo et al. 2024, arXiv 2403.14772)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, TapEvidence
from splitfed.metrics.findings import Finding, is_identity
from splitfed.models.front import Front
from splitfed.models.sparse import SparseCodingLayer, learn_dictionary
from splitfed.models.sparse.dictionary import random_dictionary
from splitfed.models.sparse_front import SparseStemFront
from splitfed.options import Options

CHECKED_IMAGES = 256
"""How many images the gate encodes once more."""

LEARNED_SHARE = 0.9
"""Of the objective of random atoms: two random dictionaries differ by 2 or 3 %, a learned one comes to about half."""

MAX_DENSITY = 0.5
"""A code with more active coefficients than this is not sparse."""


class SparseStemOptions(Options):
    """Options of every defense whose front begins with a sparse coding layer."""

    l1_weight: float = Field(default=0.5, gt=0)
    """λ in the paper's eq. 1, for inputs of unit variance; the paper uses 0.1, 0.25 and 0.5."""
    kernel_size: int = Field(default=5, ge=1, multiple_of=1)
    """Edge of an atom, pixels; the paper uses 5, and 7 for more accuracy."""
    first_dictionary: str = Field(default="learned", pattern="^(learned|random)$")
    """``learned`` without labels before training (the paper's text), or ``random`` (its code; an ablation)."""
    first_rounds: int = Field(default=3, ge=1)
    """Federated rounds in which the clients learn the first dictionary."""
    first_steps: int = Field(default=10, ge=1)
    """Dictionary steps of each client in each of these rounds."""
    first_batch_size: int = Field(default=64, ge=1)
    """Images in one of these steps."""


class SparseStemDefense(Defense):
    """A defense by architecture: its first dictionary is learned before training, its codes are checked after it."""

    options: SparseStemOptions

    def prepare_rounds(self) -> int:
        return self.options.first_rounds if self.options.first_dictionary == "learned" else 0

    def prepare(self, front: Front, pixels: Tensor, generator: torch.Generator) -> None:
        assert isinstance(front, SparseStemFront)
        learn_dictionary(
            front.first_layer,
            pixels,
            steps=self.options.first_steps,
            batch_size=min(self.options.first_batch_size, len(pixels)),
            generator=generator,
        )

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """Codes are sparse and solved, atoms learned and of unit norm, and nothing but the output was tapped."""
        return [is_identity(evidence.tapped, evidence.clean), *self.sparse_findings(evidence)]

    def sparse_findings(self, evidence: TapEvidence) -> list[Finding]:
        """What the front's sparse layers make of the first images behind the tapped activations."""
        found = codes_are_sparse(evidence)
        if self.options.first_dictionary == "learned":
            found.append(first_dictionary_is_learned(evidence))
        return found


@torch.no_grad()
def codes_are_sparse(evidence: TapEvidence) -> list[Finding]:
    """Codes are sparse and solved, and atoms of unit norm, in every sparse layer."""
    evidence.front(evidence.pixels[:CHECKED_IMAGES])
    layers = [module for module in evidence.front.modules() if isinstance(module, SparseCodingLayer)]
    if not layers:
        return [Finding(False, "the front has no sparse layer")]
    return [found for number, layer in enumerate(layers, start=1) for found in _of_layer(number, layer)]


@torch.no_grad()
def first_dictionary_is_learned(evidence: TapEvidence) -> Finding:
    """It describes images better than random atoms do: eq. 1 is lower at its solution."""
    front, pixels = evidence.front, evidence.pixels[:CHECKED_IMAGES]
    if not isinstance(front, SparseStemFront):
        return Finding(False, "the front does not begin with a sparse layer")
    layer = front.first_layer
    features, channels, kernel_size, _ = layer.dictionary.shape
    at_random = random_dictionary(features, channels, kernel_size, torch.Generator().manual_seed(0))
    share = float(layer.objective(pixels).mean() / layer.objective(pixels, dictionary=at_random).mean())
    return Finding(share <= LEARNED_SHARE, f"sparse layer 1: the objective is {share:.0%} of that of random atoms")


def _of_layer(number: int, layer: SparseCodingLayer) -> list[Finding]:
    name = f"sparse layer {number}"
    report = layer.report
    longest = (layer.dictionary.flatten(1).norm(dim=1) - 1).abs().max().item()
    return [
        Finding(0 < report.density < MAX_DENSITY, f"{name}: {report.density:.1%} of the codes are active"),
        Finding(report.converged, f"{name}: relative duality gap {report.relative_gap:.1e}"),
        Finding(longest < 1e-3, f"{name}: atoms are of unit norm to {longest:.1e}"),
    ]
