"""Every generator that ships, small and ready, over the digits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from splitfed.generators import ImageGenerator, build
from splitfed.types import Images
from tests.attacks.worlds import digits
from tests.generators.nvidia_files import stylegan2, write

OPTIONS: dict[str, dict[str, object]] = {
    "mixture": {"directions": 24, "components": 8},
    "stylegan": {"truncation": 0.8},
}


@cache
def own_images() -> Images:
    """What the attacker has: 600 digits."""
    return digits()[:600]


def prepared(name: str, folder: Path, *, seed: int = 0) -> ImageGenerator:
    """A generator that has begun. ``folder`` is for files that it may need."""
    options = dict(OPTIONS[name])
    if name == "stylegan":
        options["file"] = str(write(folder / "net.pkl", stylegan2("skip", channels=1, classes=0, clamp=None)))
    generator = build(name, options)
    generator.prepare(own_images(), torch.Generator().manual_seed(seed))
    return generator
