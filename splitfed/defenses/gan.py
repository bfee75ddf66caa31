"""Training on real and GAN-generated images, the baseline "GAN" of Dibbo et al. 2024, "Improving Robustness to Model
Inversion Attacks via Sparse Coding Architectures", arXiv 2403.14772.

Each client trains a class-conditional GAN on its own images for 25 epochs before its first round; then the network is
trained on real and generated images alike. What the text leaves open, and what is done here:

- The network: two perceptrons with the class as an input (`models.gan`), as in the paper's public code, but narrower,
  so that a client trains it on a CPU in seconds.
- How many images, of which classes: as many as the client's own (`per_real`), in the same shares of the classes, so
  that the classes' balance stays what it was.
- Their loss: they are in the training set, so their cross-entropy has a gradient like that of any other image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import Defense, Figures, TapEvidence
from splitfed.metrics.findings import Finding, is_identity
from splitfed.models.gan import TrainedGan, train_gan
from splitfed.options import Options
from splitfed.types import Images


class GanOptions(Options):
    """Options of `GanDefense`."""

    epochs: int = Field(default=25, ge=1)
    """Of the GAN's training; 25 in the paper."""
    per_real: float = Field(default=1.0, gt=0, le=10)
    """Generated images per image of the client's own."""


@dataclass(frozen=True)
class GanReport:
    """How a client's GAN turned out.

    Attributes:
        gan_generated: images that the client trains on besides its own.
        gan_moved: the generator's change in training, relative to its weights before.
        gan_recognized: share of generated images whose class the nearest class mean of the client's own images tells,
            in [0, 1], as a mean over classes.
        gan_own_recognized: the same share of the client's own images.
        gan_chance: what a guess would score: 1 over the number of the client's classes.
        gan_discriminator_loss: mean over the last epoch, nats.
        gan_generator_loss: mean over the last epoch, nats.
    """

    gan_generated: float
    gan_moved: float
    gan_recognized: float
    gan_own_recognized: float
    gan_chance: float
    gan_discriminator_loss: float
    gan_generator_loss: float


class GanDefense(Defense):
    """Each client trains a GAN on its own images, and the network is trained on real and generated images."""

    name = "gan"
    about = "training on real images and on those of a GAN"
    source = "Dibbo et al. 2024, arXiv 2403.14772"
    Options = GanOptions
    options: GanOptions

    def __init__(self, options: GanOptions) -> None:
        super().__init__(options)
        self._report: GanReport | None = None

    def generated(self, images: int) -> int:
        return round(self.options.per_real * images)

    def generate(self, images: Images, generator: torch.Generator) -> Images:
        gan = self._train_gan(images, generator)
        labels = repeated(images.labels, self.generated(len(images)), generator)
        return Images(gan.sample(labels, generator), labels, images.classes)

    def _train_gan(self, images: Images, generator: torch.Generator) -> TrainedGan:
        """The client's GAN; how it turned out is kept for `measures`."""
        gan = train_gan(images, epochs=self.options.epochs, generator=generator)
        self._report = _report(gan, images, self.generated(len(images)), generator)
        return gan

    def measures(self) -> Figures:
        return asdict(self._report) if self._report else {}

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """Every client's GAN draws the classes, and nothing but the front's output was tapped."""
        return [is_identity(evidence.tapped, evidence.clean), *gan_findings(evidence.measures)]


def repeated(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many labels in about the same shares: all of them as often as they fit, then some of them once more."""
    order = torch.randperm(len(labels), generator=generator)
    return labels[order.repeat(-(-count // len(labels)))[:count]]


def gan_findings(measures: Sequence[Figures]) -> list[Finding]:
    """Whether every client trained on images of a GAN that draws the classes.

    Its images are recognized when the nearest class mean tells their classes at least half as far above chance as those
    of the client's own images. Before its training, a generator draws much the same for every class: chance.
    """
    made = [figures.get("gan_generated", 0.0) for figures in measures]
    moved = [figures.get("gan_moved", 0.0) for figures in measures]
    return [
        Finding(_all_positive(made), f"generated images per client: {_listed(made)}"),
        Finding(_all_positive(moved), f"relative change of the generator's weights per client: {_listed(moved)}"),
        *(_recognized(client, figures) for client, figures in enumerate(measures)),
    ]


def _recognized(client: int, figures: Figures) -> Finding:
    share, chance = figures.get("gan_recognized", 0.0), figures.get("gan_chance", 1.0)
    wanted = (chance + figures.get("gan_own_recognized", 1.0)) / 2
    return Finding(
        share >= wanted,
        f"client {client}: {share:.1%} of the generated images recognized, {wanted:.1%} wanted (chance {chance:.1%})",
    )


def _report(gan: TrainedGan, images: Images, generated: int, generator: torch.Generator) -> GanReport:
    labels = repeated(images.labels, len(images), generator)
    return GanReport(
        gan_generated=generated,
        gan_moved=gan.moved,
        gan_recognized=_recall(images, gan.sample(labels, generator), labels),
        gan_own_recognized=_recall(images, images.pixels, images.labels),
        gan_chance=1 / len(torch.unique(images.labels)),
        gan_discriminator_loss=gan.losses[-1].discriminator if gan.losses else 0.0,
        gan_generator_loss=gan.losses[-1].generator if gan.losses else 0.0,
    )


def _recall(known: Images, pixels: Tensor, labels: Tensor) -> float:
    """How well the nearest class mean of the known images tells these labels: the mean over classes of the recall."""
    classes = torch.unique(known.labels)
    means = torch.stack([known.pixels[known.labels == label].mean(dim=0) for label in classes])
    said = classes[torch.cdist(pixels.flatten(1), means.flatten(1)).argmin(dim=1)]
    return float(torch.stack([(said[labels == label] == label).float().mean() for label in classes]).mean())


def _all_positive(values: Sequence[float]) -> bool:
    return bool(values) and all(value > 0 for value in values)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values) or "nothing measured"
