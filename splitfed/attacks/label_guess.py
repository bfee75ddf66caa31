"""The label of a tapped activation where it does not travel in clear: guessed, before anything else is.

Fisher's linear discriminant (Fisher 1936, "The use of multiple measurements in taxonomic problems") in the form for
several classes: Gaussians of one covariance S, shrunk toward its diagonal mean (Ledoit and Wolf 2004, "A
well-conditioned estimator for large-dimensional covariance matrices", with a fixed share), the prior of each class
its share of the images:

    label(z) = argmax over c of  zᵀ·S⁻¹·m_c − ½·m_cᵀ·S⁻¹·m_c + log π_c
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitfed.attacks.auxiliary import observe, split_auxiliary
from splitfed.attacks.linear import Standardizer, standardizer
from splitfed.types import Knowledge

SHRUNK = 0.1
"""Share of the mean variance in the covariance."""


@dataclass(frozen=True)
class LabelGuess:
    """From features (n, d) to labels.

    Attributes:
        standardize: fitted on the same features.
        weight: float32, (d, K).
        offset: float32, (K,); minus infinity for a class without images.
    """

    standardize: Standardizer
    weight: Tensor
    offset: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """int64, (n,)."""
        return (self.standardize(features) @ self.weight + self.offset).argmax(dim=1)


def fit_label_guess(features: Tensor, labels: Tensor, classes: int) -> LabelGuess:
    """The discriminant of these features, (n, d), with labels, (n,); solved in float64."""
    standardize = standardizer([features])
    rows = standardize(features).double()
    counts = torch.bincount(labels, minlength=classes).double()
    sums = torch.zeros(classes, rows.shape[1], dtype=torch.float64).index_add_(0, labels, rows)
    means = sums / counts.clamp_min(1)[:, None]
    within = rows - means[labels]
    covariance = within.T @ within / len(rows)
    variance = covariance.diagonal().mean().clamp_min(1e-12)
    shrunk = (1 - SHRUNK) * covariance + SHRUNK * variance * torch.eye(len(covariance), dtype=torch.float64)
    weight = torch.linalg.solve(shrunk, means.T)
    offset = (counts / counts.sum()).log() - (means * weight.T).sum(dim=1) / 2
    return LabelGuess(standardize, weight.float(), offset.float())


def guess_accuracy(knowledge: Knowledge, generator: torch.Generator) -> float:
    """How often the guess that the attacks work with is right, in [0, 1], on the validation part.

    Raises:
        AttackError: there are too few auxiliary images.
    """
    own = split_auxiliary(knowledge, before=None)
    fit, held_out = (
        observe(knowledge, own.pixels[places], own.labels[places], generator) for places in (own.fit, own.validation)
    )
    guess = fit_label_guess(fit.features, fit.labels, own.classes)
    return float((guess(held_out.features) == held_out.labels).float().mean())
