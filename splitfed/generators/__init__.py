"""Image generators by name: what the Plug & Play attacker owns.

A plug-in adds its own through the entry point group ``splitfed.generators``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.errors import AttackError, UserError
from splitfed.generators.base import GeneratorProvenance, ImageGenerator
from splitfed.generators.digiface import DigiFace
from splitfed.generators.mixture import Mixture
from splitfed.generators.prior import Prior
from splitfed.generators.stylegan import StyleGan
from splitfed.plugins import Fault, Registry, of, registry

FAULTS: dict[str, Fault] = {
    "load": of(type(None)),
    "provenance": of(GeneratorProvenance),
    "sample": of(Tensor),
    "synthesize": of(Tensor),
    "describe_prior": of(Prior),
}
"""By method of a plug-in, what may be wrong with what it gives."""

GENERATORS: Registry[type[ImageGenerator]] = registry(
    "generator",
    "splitfed.generators",
    ImageGenerator,  # type: ignore[type-abstract]
    (Mixture, StyleGan, DigiFace),
    declares=("name", "about"),
    faults=FAULTS,
)

__all__ = ["GENERATORS", "GeneratorProvenance", "ImageGenerator", "Prior", "build", "describe", "images_of"]

BATCH = 256
"""Latents that are synthesized at a time where nothing is learned."""


def describe() -> list[tuple[str, str]]:
    """The name of every generator with one line on it, then the plug-ins that are broken, each with the reason."""
    return GENERATORS.describe(lambda generator: generator.about)


def build(name: str, options: dict[str, object] | None = None) -> ImageGenerator:
    """The generator of this name with these options.

    Raises:
        UserError: nobody knows it, or its plug-in is broken.
    """
    if name not in GENERATORS:
        raise UserError(GENERATORS.why_not(name))
    kind = GENERATORS[name]
    return kind(kind.Options.model_validate(options or {}))


@torch.no_grad()
def images_of(generator: ImageGenerator, latents: Tensor) -> Tensor:
    """What a generator makes of latents: images (B, C, H, W) in [0, 1], checked.

    Raises:
        AttackError: it made something else of them; the message names it.
    """
    made = torch.cat([generator.synthesize(batch) for batch in torch.split(latents, BATCH)])
    wanted = (len(latents), *generator.shape)
    if tuple(made.shape) != wanted:
        raise AttackError(
            f"generator {generator.name}: synthesize() gave {tuple(made.shape)} for {len(latents)} latents; expected "
            f"{wanted}: one image each, in the shape of the attacker's own"
        )
    if not made.is_floating_point() or not bool(made.isfinite().all()):
        raise AttackError(f"generator {generator.name}: synthesize() gave no finite float images; mend its weights")
    if len(made) and not (float(made.min()) >= 0 and float(made.max()) <= 1):
        span = f"[{float(made.min()):.3g}, {float(made.max()):.3g}]"
        raise AttackError(
            f"generator {generator.name}: synthesize() gave pixels in {span}; images are in [0, 1]: clamp them"
        )
    return made.float()
