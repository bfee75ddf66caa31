"""A class-conditional generative adversarial network (Goodfellow et al. 2014, arXiv 1406.2661; the condition after
Mirza and Osindero 2014, arXiv 1411.1784).

Both networks are small perceptrons: a client trains them on a CPU before its first round, on a few thousand images.
They draw digits and small medical images; they are no model of photographs in high resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitfed.errors import SplitfedError
from splitfed.models.front import Normalize, initialize
from splitfed.types import Images, ImageShape

LATENT = 32
"""Numbers that an image is made from, besides its class."""

SLOPE = 0.2
"""Of the leaky ReLUs, for negative inputs (Radford et al. 2016, arXiv 1511.06434)."""

LARGEST_BATCH = 64
STEPS_PER_EPOCH = 16
"""Batches are made smaller to have so many in an epoch, so that a client with few images still takes enough steps."""

LEARNING_RATE = 1e-3
BETAS = (0.5, 0.99)
"""Of Adam, for both networks; a first moment with little memory follows a game better than the usual 0.9."""


class Losses(NamedTuple):
    """Mean losses over one epoch, nats: of telling real from generated, and of not having been told apart."""

    discriminator: float
    generator: float


class Generator(nn.Module):
    """From a latent and a class to an image.

    Args:
        shape: of one image.
        classes: how many classes labels may name.
        width: of the first hidden layer; the second has twice as many.
    """

    def __init__(self, shape: ImageShape, classes: int, width: int = 128) -> None:
        super().__init__()
        self.shape = shape
        self.classes = classes
        self.layers = nn.Sequential(
            *_hidden(LATENT + classes, width),
            *_hidden(width, 2 * width),
            nn.Linear(2 * width, shape.pixels),
            nn.Sigmoid(),
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Latents (B, `LATENT`) and labels (B,) -> pixels (B, C, H, W) in [0, 1]."""
        condition = F.one_hot(labels, self.classes).to(latents.dtype)
        pixels: Tensor = self.layers(torch.cat([latents, condition], dim=1))
        return pixels.view(-1, *self.shape)


class Discriminator(nn.Module):
    """Scores an image and the class that it claims: a score of the image plus one of the image in that class (the
    projection of Miyato and Koyama 2018, arXiv 1802.05637)."""

    def __init__(self, shape: ImageShape, classes: int, width: int = 256) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Normalize(),
            nn.Flatten(),
            nn.Linear(shape.pixels, width),
            nn.LeakyReLU(SLOPE),
            nn.Linear(width, width // 2),
            nn.LeakyReLU(SLOPE),
        )
        self.of_image = nn.Linear(width // 2, 1)
        self.of_class = nn.Linear(width // 2, classes)

    def forward(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Pixels (B, C, H, W) and labels (B,) -> logits (B,), above 0 for "real"."""
        features = self.features(pixels)
        in_class = self.of_class(features).gather(1, labels[:, None])
        logits: Tensor = (self.of_image(features) + in_class).squeeze(1)
        return logits


@dataclass(frozen=True)
class TrainedGan:
    """A generator after its training.

    Attributes:
        generator: in evaluation mode, without gradients.
        losses: of each epoch.
        moved: norm of the generator's change in training, relative to its weights before.
    """

    generator: Generator
    losses: tuple[Losses, ...]
    moved: float

    def sample(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """One image per label, from fresh latents: (len(labels), C, H, W) in [0, 1]."""
        pixels: Tensor = self.generator(latents(len(labels), generator), labels)
        return pixels


def latents(count: int, generator: torch.Generator) -> Tensor:
    """Draws of the standard normal distribution, (count, `LATENT`)."""
    return torch.randn(count, LATENT, generator=generator)


def batches(images: int, generator: torch.Generator) -> list[Tensor]:
    """The rows of one epoch's batches in a random order; a last one of a single image, which has no statistics for a
    batch norm, is left out."""
    batch = max(2, min(LARGEST_BATCH, images // STEPS_PER_EPOCH))
    rows = torch.split(torch.randperm(images, generator=generator), batch)
    return [part for part in rows if len(part) > 1]


@torch.enable_grad()
def train_gan(images: Images, *, epochs: int, generator: torch.Generator) -> TrainedGan:
    """Train a generator against a discriminator on these images and their labels.

    The non-saturating loss of Goodfellow et al.; one step of each network per batch. The same images and generator give
    the same weights, bit for bit.

    Args:
        images: at least 2.
        epochs: passes over the images.
        generator: draws the weights, the order and the latents.

    Raises:
        SplitfedError: there are fewer images.
    """
    if len(images) < 2:
        raise SplitfedError(
            f"a GAN learns from at least 2 images, this client has {len(images)}; give clients more images"
        )
    classes = len(images.classes)
    maker, judge = Generator(images.shape, classes), Discriminator(images.shape, classes)
    initialize(maker, generator)
    initialize(judge, generator)
    before = nn.utils.parameters_to_vector(maker.parameters()).detach().clone()
    game = _Game(maker, judge, generator)
    losses = tuple(game.epoch(images) for _ in range(epochs))
    change = nn.utils.parameters_to_vector(maker.parameters()).detach() - before
    return TrainedGan(maker.eval().requires_grad_(False), losses, float(change.norm() / before.norm()))


class _Game:
    """The two networks in training."""

    def __init__(self, maker: Generator, judge: Discriminator, generator: torch.Generator) -> None:
        self._maker, self._judge, self._generator = maker, judge, generator
        # fused: with small batches, going over the parameters one by one takes longer than their gradients
        self._makes = torch.optim.Adam(maker.parameters(), lr=LEARNING_RATE, betas=BETAS, fused=True)
        self._judges = torch.optim.Adam(judge.parameters(), lr=LEARNING_RATE, betas=BETAS, fused=True)

    def epoch(self, images: Images) -> Losses:
        """One pass over the images in a new order."""
        steps = [self._step(images[rows]) for rows in batches(len(images), self._generator)]
        judged, made = (sum(column) / len(steps) for column in zip(*steps, strict=True))
        return Losses(judged, made)

    def _step(self, real: Images) -> Losses:
        fake = self._maker(latents(len(real), self._generator), real.labels)
        both = torch.cat([real.pixels, fake.detach()])
        of_real, of_fake = self._judge(both, real.labels.repeat(2)).chunk(2)
        judged = _descend(self._judges, F.softplus(-of_real).mean() + F.softplus(of_fake).mean())
        self._judge.requires_grad_(False)
        made = _descend(self._makes, F.softplus(-self._judge(fake, real.labels)).mean())
        self._judge.requires_grad_(True)
        return Losses(judged, made)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _hidden(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.LeakyReLU(SLOPE)]
