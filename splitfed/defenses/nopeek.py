"""Less distance correlation between images and activations (Vepakomma et al. 2020, "NoPeek: Information leakage
reduction to share activations in distributed deep learning", arXiv 2008.09161)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, Figures, TapEvidence, TrainingBatch
from splitfed.defenses.dependence import distance_correlation
from splitfed.metrics.findings import Finding, is_identity, regularizer_acts
from splitfed.options import Options

REPORTED_IMAGES = 512
"""How many images the reported distance correlation is over: its bias and its cost depend on the number."""


class NoPeekOptions(Options):
    """Options of `NoPeek`."""

    weight: float = Field(default=1.0, gt=0)
    """α₁ of the paper's α₁ DCOR + α₂ CE, with α₂ = 1. The paper gives no value for all; its code weighs 10,000 : 1 for
    CIFAR-10 under Adam, a well-known reimplementation on MNIST (github TTitcombe/NoPeekNN) 0.1 : 1."""


class NoPeek(Defense):
    """Adds the distance correlation between a batch's images and its activations to the client's loss.

    It is the unsquared one, as in the authors' code, from 0 to 1. Only the front is moved by it: the back sees no
    images. Nothing is added to what leaves.
    """

    name = "nopeek"
    about = "the loss penalizes distance correlation between images and activations"
    source = "Vepakomma et al. 2020, arXiv 2008.09161"
    Options = NoPeekOptions
    options: NoPeekOptions

    def regularizer(self, batch: TrainingBatch) -> Tensor:
        return self.options.weight * distance_correlation(batch.pixels.flatten(1), batch.output.flatten(1))

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """The extra term moved every client's front, and nothing but the front's output was tapped."""
        return [regularizer_acts(evidence.measures), is_identity(evidence.tapped, evidence.clean)]

    @torch.no_grad()
    def figures(self, evidence: TapEvidence) -> Figures:
        """The distance correlation that is left at the tap, over the first 512 images."""
        pixels, tapped = evidence.pixels[:REPORTED_IMAGES], evidence.tapped[:REPORTED_IMAGES]
        return {"distance_correlation": float(distance_correlation(pixels.flatten(1), tapped.flatten(1)))}
