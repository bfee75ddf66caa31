"""Attacks by name: what the attacker makes of its observations and its knowledge.

A plug-in adds its own through the entry point group ``splitfed.attacks``.
"""

from __future__ import annotations

from torch import Tensor

from splitfed.attacks.base import Attack, Progress, images_of
from splitfed.attacks.conv_decoder import ConvDecoder
from splitfed.attacks.decoder import Decoder
from splitfed.attacks.dictionary import Dictionary
from splitfed.attacks.ensemble import Ensemble
from splitfed.attacks.lmmse import Lmmse
from splitfed.attacks.posterior_mean import PosteriorMean
from splitfed.attacks.retrieval import Retrieval
from splitfed.attacks.ridge import Ridge
from splitfed.attacks.untrained import Untrained
from splitfed.attacks.whitebox import Whitebox
from splitfed.errors import AttackError
from splitfed.plugins import Fault, Registry, numbers, of, registry
from splitfed.types import FitEvidence, ImageShape


def _record(kind: type[Progress] | type[FitEvidence]) -> Fault:
    """A method must give one of these, filled with numbers."""
    return lambda given: of(kind)(given) or numbers({k: v for k, v in vars(given).items() if v is not None})


FAULTS: dict[str, Fault] = {
    "most_observations": of(int, type(None)),
    "advance": _record(Progress),
    "reconstruct": of(Tensor),
    "evidence": _record(FitEvidence),
}
"""By method of a plug-in, what may be wrong with what it gives."""

ATTACKS: Registry[type[Attack]] = registry(
    "attack",
    "splitfed.attacks",
    Attack,  # type: ignore[type-abstract]
    (Ridge, PosteriorMean, Lmmse, Decoder, ConvDecoder, Whitebox, Dictionary, Ensemble, Untrained, Retrieval),
    declares=("name", "about", "adaptivity"),
    faults=FAULTS,
)

__all__ = ["ATTACKS", "Attack", "FitEvidence", "Progress", "build", "describe", "reconstruct"]


def describe() -> list[tuple[str, str]]:
    """The name of every attack with one line on it, then the plug-ins that are broken, each with the reason."""
    return ATTACKS.describe(lambda attack: f"{attack.about}. Against noise: {attack.adaptivity}")


def build(name: str, options: dict[str, object]) -> Attack:
    """The attack of this name with these options, which the scenario has validated."""
    kind = ATTACKS[name]
    return kind(kind.Options.model_validate(options))


def reconstruct(attack: Attack, activation: Tensor, shape: ImageShape, labels: Tensor | None = None) -> Tensor:
    """What an attack makes of observed activations: images (B, C, H, W) in [0, 1].

    Args:
        attack: it has begun.
        activation: (B, ...).
        shape: of an image.
        labels: int64, (B,), where they travel in clear.

    Raises:
        AttackError: it made something else of them; the message names it.
    """
    made = images_of(attack, activation, labels)
    wanted = (len(activation), *shape)
    if tuple(made.shape) != wanted:
        raise AttackError(
            f"attack {attack.name}: reconstruct() gave {tuple(made.shape)} for {len(activation)} activations; "
            f"expected {wanted}: one image each, in their order"
        )
    if not made.is_floating_point():
        raise AttackError(f"attack {attack.name}: reconstruct() gave {made.dtype}; images are float32 in [0, 1]")
    if not bool(made.isfinite().all()):
        raise AttackError(f"attack {attack.name}: reconstruct() gave NaN or infinity; keep its weights finite")
    if len(made) and not (float(made.min()) >= 0 and float(made.max()) <= 1):
        raise AttackError(
            f"attack {attack.name}: reconstruct() gave pixels in [{float(made.min()):.3g}, {float(made.max()):.3g}]; "
            "images are in [0, 1]: clamp them"
        )
    return made.float()
