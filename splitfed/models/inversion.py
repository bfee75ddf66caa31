"""Model inversion through a generator's latents, as a defender does it to itself: which images a classifier takes for a
class (Zhang et al. 2020, "The Secret Revealer", arXiv 1911.07135)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitfed.models.front import Normalize, initialize
from splitfed.models.gan import TrainedGan, batches, latents
from splitfed.types import Images

WIDTH = 128
"""Of the classifier's hidden layer."""

CLASSIFIER_RATE = 1e-3
"""Of Adam."""

LATENT_RATE = 0.1
"""Of Adam over the latents, which have unit variance."""

PRIOR_WEIGHT = 0.01
"""How much the latents are held to the distribution that the generator was trained with: the weight of their mean
square, which is 1 for a typical one. Far from it, a generator makes no images."""


@torch.enable_grad()
def train_classifier(images: Images, *, epochs: int, generator: torch.Generator) -> nn.Module:
    """A small classifier of a client's own images: pixels (B, C, H, W) -> scores (B, classes), without gradients."""
    classifier = nn.Sequential(
        Normalize(),
        nn.Flatten(),
        nn.Linear(images.shape.pixels, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, len(images.classes)),
    )
    initialize(classifier, generator)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=CLASSIFIER_RATE)
    for _ in range(epochs):
        for rows in batches(len(images), generator):
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(classifier(images.pixels[rows]), images.labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return classifier.requires_grad_(False)


@torch.enable_grad()
def invert(
    classifier: nn.Module,
    gan: TrainedGan,
    labels: Tensor,
    condition: Tensor,
    *,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Images of one class that a classifier takes for another, or for their own: (N, C, H, W) in [0, 1].

    Args:
        classifier: pixels to scores; differentiable.
        gan: the images stay within what its generator makes.
        labels: (N,), what the classifier is to say.
        condition: (N,), the class that the generator is told to draw.
        steps: of Adam over each image's own latent; 0 leaves random images of `condition`.
        generator: draws the first latents.
    """
    sought = latents(len(labels), generator).requires_grad_()
    optimizer = torch.optim.Adam([sought], lr=LATENT_RATE)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        scores = classifier(gan.generator(sought, condition))
        # summed over the images: each latent has a search of its own
        loss = F.cross_entropy(scores, labels, reduction="sum") + PRIOR_WEIGHT * sought.square().mean(dim=1).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        pixels: Tensor = gan.generator(sought, condition)
    return pixels


@torch.no_grad()
def agreement(classifier: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """The share of images, in [0, 1], that the classifier takes for the class of their label."""
    return float((classifier(pixels).argmax(dim=1) == labels).float().mean())
