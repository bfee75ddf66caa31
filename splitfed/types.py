"""What flows between the parts, and who may see it (DESIGN, section 3).

`Images` never reach the attacker's code unless they are its own auxiliary images. What it gets is an
`Observation` (what the tap saw) and `Knowledge` (what else it has); what it returns is a `Reconstruction`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from torch import Tensor, nn


NEAR_DB = 35.0
"""PSNR from which two images count as near-duplicates: at 8 bits they differ by 4.5 gray levels (rms), which hardly
anybody sees, and no reconstruction of the one could be told from the other."""


class ImageShape(NamedTuple):
    """Channels, height and width of one image, in pixels."""

    channels: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Numbers in one image: C·H·W."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Images:
    """Private or auxiliary images with their labels.

    Attributes:
        pixels: float32, (N, C, H, W), in [0, 1].
        labels: int64, (N,), in [0, len(classes)).
        classes: the names of the classes.
        groups: int64, (N,), equal for images of one patient or other group; None where none is known.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    groups: Tensor | None = None

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    def __getitem__(self, index: Tensor | slice) -> Images:
        """The images at these positions, in this order."""
        groups = None if self.groups is None else self.groups[index]
        return Images(self.pixels[index], self.labels[index], self.classes, groups)

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width."""
        return ImageShape(*self.pixels.shape[1:])

    def content_hashes(self) -> list[bytes]:
        """One hash per image of its pixels at 8 bits: equal images have equal hashes."""
        bytes_per_image = (self.pixels * 255).round().clamp(0, 255).byte().cpu().numpy()
        return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in bytes_per_image]


class Phase(IntEnum):
    """What a stream of activations is for. The values are those of `Phase` in split.proto."""

    TRAIN = 1
    """Forward and backward over a client's training images, with weight updates."""
    TEST = 2
    """Forward over held-out images: the accuracy that is reported."""
    AUDIT = 3
    """Forward over the client's own training images with the final front: its training accuracy, and what
    the paper's attacks reconstruct ("after training, the training set")."""


@dataclass(frozen=True)
class Observation:
    """One batch of activations as the tap saw it.

    Attributes:
        run: the run (one cell of a scenario) that the stream named.
        round: federated round, from 1.
        client: the client's number, from 0.
        phase: what the stream was for.
        step: the batch's number within the stream, from 0.
        activation: float32, (B, ...), as decoded from the wire.
        labels: int64, (B,), or None where labels do not travel in clear.
    """

    run: str
    round: int
    client: int
    phase: Phase
    step: int
    activation: Tensor
    labels: Tensor | None

    def index(self) -> np.ndarray:
        """The opaque index of each row: int64, (B, 4), columns round, client, step, row."""
        import numpy as np

        rows = np.arange(self.activation.shape[0], dtype=np.int64)
        head = np.array([self.round, self.client, self.step], dtype=np.int64)
        return np.column_stack([np.tile(head, (rows.size, 1)), rows])


def _unknown(pixels: Tensor) -> None:
    """What a front or a defense says that does not say."""


@dataclass(frozen=True)
class Channel:
    """How what leaves a client is distributed, given its images: each number by itself, around a known one.

    Attributes:
        law: of the noise, "gaussian" or "laplace".
        location: float32, (B, d), its center.
        scale: float32, (B, d), positive: σ of a Gaussian, b of a Laplace distribution.
    """

    law: Literal["gaussian", "laplace"]
    location: Tensor
    scale: Tensor


@dataclass(frozen=True)
class Knowledge:
    """What the attacker has besides its observations.

    Attributes:
        auxiliary: its own images, of the victims' distribution and disjoint from theirs.
        observe: the front that it holds as a participant, with the defense's mechanism applied: takes pixels
            (B, C, H, W) and a generator for the defense's randomness, returns activations (B, ...).
        expected: pixels to what `observe` gives on average, differentiably.
        front: that front itself, frozen, for attacks that read its weights; they must not change it.
        randomized: whether two calls of `observe` on the same pixels differ.
        nonnegative: whether the front's own output is never negative, so that whatever is below 0 is noise.
        expensive: whether a pass over some thousand images takes many seconds, so that it pays to ask less.
        labels_in_clear: whether the label of what was tapped travels with it; if not, attacks guess it.
        channel: pixels to how `observe` distributes what it gives for them; None for pixels whose defense draws
            nothing, or does not say.
        pre_activation: pixels to what the front's last ReLU gets, (B, d); None where the front does not end in one.
    """

    auxiliary: Images
    observe: Callable[[Tensor, torch.Generator], Tensor]
    expected: Callable[[Tensor], Tensor]
    front: nn.Module
    randomized: bool = False
    nonnegative: bool = False
    expensive: bool = False
    labels_in_clear: bool = True
    channel: Callable[[Tensor], Channel | None] = _unknown
    pre_activation: Callable[[Tensor], Tensor | None] = _unknown

    def features(self, activation: Tensor) -> Tensor:
        """What an attack learns from: activations as rows, (B, d), float32, without what is known to be noise."""
        rows = activation.flatten(1).float()
        return rows.clamp_min(0) if self.randomized and self.nonnegative else rows


@dataclass(frozen=True)
class FitEvidence:
    """What an attack says about its training; the gates and the choice of the strongest read it.

    Attributes:
        first_loss: the attack's own loss on the fit part with the present front, before it learned; of an attack that
            looks its images up there, on the validation part.
        last_loss: the same after the last unit of work.
        parameters_moved: whether the trainable parameters differ from those at the start, by hash.
        epochs: units of work done.
        validation_psnr_db: PSNR on the validation part, dB.
        validation_ssim: SSIM on the validation part; the strongest attack is the one with the highest.
        plateaued: whether training ended because nothing improved any more.
        start_psnr_db: PSNR on the validation part of what the attack starts from, dB: the best closed form beneath a
            network, the mean of the class beneath a closed form. None where the attack does not say.
        start_ssim: the same of SSIM.
    """

    first_loss: float
    last_loss: float
    parameters_moved: bool
    epochs: int
    validation_psnr_db: float
    validation_ssim: float
    plateaued: bool
    start_psnr_db: float | None = None
    start_ssim: float | None = None


@dataclass(frozen=True)
class Reconstruction:
    """What an attack made of its observations.

    Attributes:
        index: int64, (N, 4), the opaque index of the observation behind each image.
        images: float32, (N, C, H, W), in [0, 1].
    """

    index: np.ndarray
    images: Tensor

    def __len__(self) -> int:
        return int(self.images.shape[0])
