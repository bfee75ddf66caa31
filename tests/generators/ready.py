"""Every generator that ships, small and ready, over the digits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from splitfed.generators import ImageGenerator, build, digiface
from splitfed.types import Images
from tests.attacks.worlds import digits
from tests.generators.nvidia_files import stylegan2, write

OPTIONS: dict[str, dict[str, object]] = {
    "mixture": {"directions": 24, "components": 8},
    "stylegan": {"truncation": 0.8},
    "digiface": {},
}
IN_COLOR = {"digiface"}


@cache
def own_images(name: str = "") -> Images:
    """What the attacker has: 600 digits, in three colors for a generator that knows no others."""
    images = digits()[:600]
    return Images(images.pixels.expand(-1, 3, -1, -1), images.labels, images.classes) if name in IN_COLOR else images


def prepared(name: str, folder: Path, *, seed: int = 0) -> ImageGenerator:
    """A generator that has begun. ``folder`` is for files that it may need."""
    options = dict(OPTIONS[name])
    if name == "stylegan":
        options["file"] = str(write(folder / "net.pkl", stylegan2("skip", channels=1, classes=0, clamp=None)))
    if name == "digiface":
        options["file"] = str(digiface_weights(folder / "weights.tar"))
    generator = build(name, options)
    generator.prepare(own_images(name), torch.Generator().manual_seed(seed))
    return generator


def digiface_weights(path: Path) -> Path:
    """A file as gan-face-generate has it, with weights by lot."""
    layers = digiface._layers()
    draws = torch.Generator().manual_seed(0)
    for tensor in layers.state_dict().values():
        if tensor.ndim == 4:
            tensor.normal_(0, (4 / tensor.shape[0]) ** 0.5 / 4, generator=draws)
    torch.save({"epoch": 1, "netG_state_dict": {f"main.{k}": v for k, v in layers.state_dict().items()}}, path)
    return path
