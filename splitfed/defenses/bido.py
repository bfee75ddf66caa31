"""Bilateral dependency optimization (Peng et al. 2022, "Bilateral Dependency Optimization: Defending Against
Model-inversion Attacks", KDD, arXiv 2206.05483)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, TapEvidence, TrainingBatch
from splitfed.defenses.dependence import constrained_covariance, gaussian_kernel, label_kernel, normalized_hsic
from splitfed.metrics.findings import Finding, is_identity, regularizer_acts
from splitfed.options import Options


class Dependence(NamedTuple):
    """A measure of dependence between two kernel matrices, with the weights that its authors use."""

    of: Callable[[Tensor, Tensor], Tensor]
    input_weight: float
    label_weight: float


DEPENDENCES = {
    "hsic": Dependence(normalized_hsic, 0.05, 0.5),
    "coco": Dependence(constrained_covariance, 1.0, 50.0),
}
"""Weights (λ_x, λ_y) from the README of the official code (github AlanPeng0897/Defend_MI): those of HSIC for CelebA, of
COCO for MNIST."""


class BidoOptions(Options):
    """Options of `Bido`."""

    measure: Literal["hsic", "coco"] = "hsic"
    """d: the normalized Hilbert-Schmidt independence criterion, or constrained covariance."""
    input_weight: float | None = Field(default=None, ge=0)
    """λ_x, the price of dependence on the image. Left out: 0.05 for hsic, 1 for coco, as the official code's."""
    label_weight: float | None = Field(default=None, ge=0)
    """λ_y, the reward for dependence on the label. Left out: 0.5 for hsic, 50 for coco, as the official code's."""

    @property
    def weights(self) -> tuple[float, float]:
        """λ_x and λ_y: those that are set, else those of the measure."""
        of_measure = DEPENDENCES[self.measure]
        return (
            of_measure.input_weight if self.input_weight is None else self.input_weight,
            of_measure.label_weight if self.label_weight is None else self.label_weight,
        )


class Bido(Defense):
    """Adds λ_x Σ d(X, Z_j) − λ_y Σ d(Z_j, Y) over the client's hidden layers Z_j to its loss.

    X and Z_j have Gaussian kernels of width 5 √dimension, Y, one-hot, the linear kernel, as the official code has by
    default. The paper takes the hidden layers of the whole network. Here the images stay with the client, so the terms
    act on the client's own layers: the first in the split threat, all of them in the end-to-end threat.

    The weights were found for networks with batch norm under Adam. Without batch norm, `coco` at (1, 50) rewards ever
    larger activations, since it grows with a kernel's scale, and SGD loses accuracy to it; `hsic` hardly depends on
    scale.
    """

    name = "bido"
    about = "the loss penalizes dependence of hidden layers on the image and rewards it on the label"
    source = "Peng et al. 2022, arXiv 2206.05483"
    Options = BidoOptions
    options: BidoOptions

    def regularizer(self, batch: TrainingBatch) -> Tensor:
        dependence = DEPENDENCES[self.options.measure].of
        input_weight, label_weight = self.options.weights
        images, labels = gaussian_kernel(batch.pixels.flatten(1)), label_kernel(batch.labels)
        hidden = [gaussian_kernel(layer.flatten(1)) for layer in batch.hidden]
        terms = [input_weight * dependence(images, z) - label_weight * dependence(z, labels) for z in hidden]
        return torch.stack(terms).sum()

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """The extra terms moved every client's front, and nothing but the front's output was tapped."""
        return [regularizer_acts(evidence.measures), is_identity(evidence.tapped, evidence.clean)]
