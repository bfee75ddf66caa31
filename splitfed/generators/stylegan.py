"""A StyleGAN2-ADA or StyleGAN3 that somebody trained elsewhere, from its file.

Files are NVIDIA's pickles, published or made with their code. They are read as data, and the networks rebuilt here
(`splitfed.generators.nvidia`). NVIDIA's own may be used for research and evaluation alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.errors import UserError
from splitfed.generators.base import GeneratorProvenance, ImageGenerator
from splitfed.generators.nvidia.layers import StyleMapping
from splitfed.generators.nvidia.reading import PickledModule, read_generator
from splitfed.generators.nvidia.stylegan2 import StyleSynthesis2
from splitfed.generators.nvidia.stylegan3 import StyleSynthesis3
from splitfed.options import Options
from splitfed.types import Images

DIGEST_BYTES = 16
"""Of `Images.content_hashes`."""


class StyleGanOptions(Options):
    """Options of `StyleGan`."""

    file: str
    """Path of the network's .pkl."""
    truncation: float = Field(default=0.5, ge=0, le=1)
    """ψ, toward the mean image: 0.5 in the published attack, 1 for none."""
    center_crop: float = Field(default=1.0, gt=0, le=1)
    """Share of the image's edge that is kept around its center, before it is resized: 0.78 in the published attack, for
    portraits against classifiers of faces."""
    license: str = "not stated; networks that NVIDIA publishes are for research and evaluation only"
    """Of the weights, for the record."""
    hashes: str = ""
    """Path of a text file with the hash of each image that it was trained on, at the victims' size: one in a line, as
    `Images.content_hashes` has them, in hexadecimal."""


class StyleGan(ImageGenerator):
    """Latents are w, (B, d), the same for all layers. Images are resized to the attacker's."""

    name = "stylegan"
    about = "a StyleGAN2-ADA or StyleGAN3 from its .pkl, any resolution; nothing in the file is run"
    Options: ClassVar[type[Options]] = StyleGanOptions
    options: StyleGanOptions

    def __init__(self, options: Any = None) -> None:
        if options is None:
            raise UserError("generator stylegan: it needs the path of a network; set file")
        super().__init__(options)

    def load(self, auxiliary: Images, generator: torch.Generator) -> None:  # noqa: ARG002 - others trained it
        """Read the network.

        Raises:
            UserError: a file that is none, a network that cannot be rebuilt, or one of other channels.
        """
        path = Path(self.options.file)
        pickled = read_generator(path)
        try:
            self._mapping, self._synthesis = rebuilt(pickled)
            with torch.no_grad():
                image = self._synthesis(self.sample(1, torch.Generator().manual_seed(0)))
            if not bool(image.isfinite().all()):
                raise ValueError("its images are not finite")
        except Exception as error:  # of numbers that do not fit each other, anything
            raise UserError(
                f"{path}: expected a generator of StyleGAN2-ADA or StyleGAN3, found {pickled.class_name}, which cannot "
                f"be rebuilt ({error})"
            ) from error
        channels = auxiliary.shape.channels
        if self._synthesis.channels != channels:
            raise UserError(
                f"{path}: it makes images of {self._synthesis.channels} channels, the data set's have {channels}; "
                "take a network of the same"
            )
        self._digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self._hashes = _read_hashes(self.options.hashes)

    def provenance(self) -> GeneratorProvenance:
        """The file, and the hashes of what it was trained on, where these were given."""
        kind = "StyleGAN3" if isinstance(self._synthesis, StyleSynthesis3) else "StyleGAN2"
        edge = self._synthesis.edge
        origin = f"{Path(self.options.file).name}, a {kind} of {edge}×{edge} pixels, sha256 {self._digest[:16]}"
        return GeneratorProvenance(origin, self.options.license, hashes=self._hashes)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator, label: int | None = None) -> Tensor:  # noqa: ARG002
        """w of standard normal z, truncated; of a network with classes of its own, each of one of them by lot."""
        z = torch.randn(count, self._mapping.latents, generator=generator)
        own = self._mapping.classes
        labels = torch.randint(own, (count,), generator=generator) if own else None
        w: Tensor = self._mapping(z, labels, truncation=self.options.truncation)
        return w

    def synthesize(self, latents: Tensor) -> Tensor:
        """The network's image, its center, at the attacker's size."""
        images: Tensor = (self._synthesis(latents) + 1) / 2
        kept = max(1, round(self._synthesis.edge * self.options.center_crop))
        first = (self._synthesis.edge - kept) // 2
        images = images[..., first : first + kept, first : first + kept]
        size = (self.shape.height, self.shape.width)
        if tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return images.clamp(0, 1)


def rebuilt(pickled: PickledModule) -> tuple[StyleMapping, StyleSynthesis2 | StyleSynthesis3]:
    """The two parts of a generator, frozen.

    Raises:
        KeyError: it lacks something that such a generator has.
    """
    synthesis = pickled.child("synthesis")
    kind = StyleSynthesis3 if "input" in synthesis.children() else StyleSynthesis2
    parts = StyleMapping(pickled.child("mapping")), kind(synthesis)
    nn.ModuleList(parts).eval().requires_grad_(False)
    return parts


def _read_hashes(file: str) -> frozenset[bytes]:
    if not file:
        return frozenset()
    try:
        lines = Path(file).read_text(encoding="utf-8").split()
        hashes = frozenset(map(bytes.fromhex, lines))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: expected a hash in hexadecimal in each line, reading failed ({error})") from error
    odd = [each.hex() for each in hashes if len(each) != DIGEST_BYTES]
    if odd:
        raise UserError(f"{file}: expected hashes of {DIGEST_BYTES} bytes, found {odd[0]}")
    return hashes
