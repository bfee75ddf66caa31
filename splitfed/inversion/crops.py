"""Random crops of images, by torchvision: what looks like the wanted class only as a whole is no image of it.

torchvision draws from the generator of the process, and once for a whole batch, as the published method does. Here the
process's generator is set for one draw and put back, so that a run repeats and disturbs no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from splitfed.types import ImageShape


@dataclass(frozen=True)
class Crops:
    """A random part of each image, resized to the image's own size; one draw for a batch.

    Attributes:
        shape: of the images.
        scale: least and largest share of the area.
        ratio: least and largest ratio of width to height, as a share of the image's own.
        flip: how likely all are mirrored.
    """

    shape: ImageShape
    scale: tuple[float, float]
    ratio: tuple[float, float]
    flip: float = 0.0
    _transform: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from torchvision.transforms import v2  # takes a second

        size = (self.shape.height, self.shape.width)
        own = self.shape.width / self.shape.height
        ratio = (self.ratio[0] * own, self.ratio[1] * own)
        crop = v2.RandomResizedCrop(size, scale=self.scale, ratio=ratio, antialias=True)
        object.__setattr__(self, "_transform", v2.Compose([crop, v2.RandomHorizontalFlip(self.flip)]))

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, C, H, W) -> as many, of the same size, differentiably."""
        seed = int(torch.randint(2**62, (1,), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            cropped: Tensor = self._transform(pixels)
        return cropped.clamp(0, 1)  # what smooths may overshoot by a rounding error
