"""Attacks by name: what the attacker makes of its observations and its knowledge.

A plug-in adds its own through the entry point group ``splitfed.attacks``.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from splitfed.attacks.base import Attack, FitEvidence, Progress
from splitfed.attacks.decoder import Decoder
from splitfed.attacks.ridge import Ridge
from splitfed.attacks.untrained import Untrained

ATTACKS: dict[str, type[Attack]] = {attack.name: attack for attack in (Ridge, Decoder, Untrained)}
ATTACKS.update({point.name: point.load() for point in entry_points(group="splitfed.attacks")})

__all__ = ["ATTACKS", "Attack", "FitEvidence", "Progress", "build"]


def build(name: str, options: dict[str, object]) -> Attack:
    """The attack of this name with these options, which the scenario has validated."""
    kind = ATTACKS[name]
    return kind(kind.Options.model_validate(options))
