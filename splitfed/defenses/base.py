"""What a defense may change: the front, what is done to the activation before it leaves, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from splitfed.metrics.findings import Finding
from splitfed.models.front import Front, PlainFront, initialise
from splitfed.options import Options
from splitfed.types import ImageShape


@dataclass(frozen=True)
class TapEvidence:
    """What was seen at the tap, beside what the final front gives for the same images without `protect`.

    Attributes:
        front: the final front, in evaluation mode.
        pixels: (N, C, H, W) in [0, 1], the images behind the tapped activations.
        clean: (N, width), the front's output for them, in the client's batches and through the run's codec.
        tapped: (N, width), decoded from the wire.
    """

    front: Front
    pixels: Tensor
    clean: Tensor
    tapped: Tensor


class Defense(ABC):
    """A defense: a front, and what happens to its output before it leaves the client.

    Subclasses set `name`, `about` and `source`, declare their own `Options`, and override what they change.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for `splitfed defenses`."""
    source: ClassVar[str]
    """The method's own paper."""
    randomised: ClassVar[bool] = False
    """Whether two activations of one image differ; attacks then average over the randomness."""
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any) -> None:
        self.options = options

    def build_front(self, shape: ImageShape, width: int, generator: torch.Generator) -> Front:
        """The front for images of this shape, its weights drawn from `generator`."""
        front = PlainFront(shape, width)
        initialise(front, generator)
        return front

    def prepare_rounds(self) -> int:
        """Federated rounds before training in which each client calls `prepare`; 0 for none."""
        return 0

    def prepare(  # noqa: B027 - most defenses have nothing to prepare
        self, front: Front, pixels: Tensor, generator: torch.Generator
    ) -> None:
        """Change `front` in place by what a client can learn from its own images without labels."""

    def protect(self, activation: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """What leaves the client instead of `activation`: same shape and dtype, gradients pass through."""
        return activation

    @abstractmethod
    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """What shows that the defense acted, measured at the tap (gate 4); `metrics.findings` has the means."""
