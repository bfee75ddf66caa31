"""What every image generator is: something that turns latents into images of the kind that the victims have.

The Plug & Play attacker owns one, and searches its latents for what a classifier calls by the wanted class
(Struppek et al. 2022, arXiv 2201.12179). A generator knows nothing of the victims: its training images are the
attacker's own or public ones, and whoever has the victims' images checks that (`generators.disjoint`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from splitfed.generators.prior import Prior, measured_prior
from splitfed.options import Options

if TYPE_CHECKING:
    from splitfed.types import Images, ImageShape

MEASURED_SAMPLES = 2000
"""From which the latents' spread is measured where a generator does not state it."""


@dataclass(frozen=True)
class GeneratorProvenance:
    """Where a generator comes from, and what it has seen.

    Attributes:
        origin: one line: who made it, from what.
        license: of the weights, one line.
        images: the images that it was trained on, where they are at hand: compared with the victims' by content,
            by group, and for near-duplicates.
        hashes: `Images.content_hashes` of what it was trained on, at the victims' size, where only these are known.
    """

    origin: str
    license: str
    images: Images | None = None
    hashes: frozenset[bytes] = frozenset()

    @property
    def trained_on(self) -> frozenset[bytes]:
        """The content hashes of all images that it is known to have been trained on; empty where none is known."""
        return self.hashes if self.images is None else self.hashes.union(self.images.content_hashes())


class ImageGenerator(ABC):
    """Latents to images, differentiably.

    Call ``prepare`` once; then ``sample`` and ``synthesize`` as often as wanted. The same generator seeds give the same
    latents and images with one thread.

    Subclasses set `name` and `about`, declare their own `Options`, and define `load`, `provenance`, `sample`, and
    `synthesize`.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for lists of generators."""
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options
        self.shape: ImageShape
        """Of the images that it makes, set by `prepare`."""
        self.prior: Prior
        """Where its latents lie, set by `prepare`."""

    def prepare(self, auxiliary: Images, generator: torch.Generator) -> None:
        """Learn from the attacker's own images, or load what others trained; then know where latents lie.

        Args:
            auxiliary: the attacker's own images. Images are made in their shape.
            generator: draws whatever is random in it.

        Raises:
            UserError: too few images, a file that cannot be used, or another number of channels.
        """
        self.shape = auxiliary.shape
        self.load(auxiliary, generator)
        self.prior = self.describe_prior()

    @property
    def labeled(self) -> bool:
        """Whether latents can be drawn for one of the victims' classes.

        Then random samples alone are of the wanted class, and what an attack finds says nothing about the classifier.
        """
        return False

    @abstractmethod
    def load(self, auxiliary: Images, generator: torch.Generator) -> None:
        """The part of `prepare` that makes or reads the weights."""

    @abstractmethod
    def provenance(self) -> GeneratorProvenance:
        """Where it comes from; after ``prepare``."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator, label: int | None = None) -> Tensor:
        """Latents as the prior has them, float32, (count, ...).

        Args:
            count: how many.
            generator: of all draws.
            label: the class that they are to be of; None for any. Only `labeled` generators are asked for one.
        """

    @abstractmethod
    def synthesize(self, latents: Tensor) -> Tensor:
        """Latents (B, ...) -> images float32 (B, C, H, W) in [0, 1], differentiably, each by itself."""

    def describe_prior(self) -> Prior:
        """Where latents lie: by default an ellipsoid that holds 99 % of `MEASURED_SAMPLES` samples."""
        return measured_prior(self.sample(MEASURED_SAMPLES, torch.Generator().manual_seed(0)))
