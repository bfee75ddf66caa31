"""Defenses by name. A plug-in adds its own through the entry point group ``splitfed.defenses``."""

from __future__ import annotations

from importlib.metadata import entry_points

from splitfed.defenses.base import Defense
from splitfed.defenses.laplace import Laplace
from splitfed.defenses.none import NoDefense
from splitfed.defenses.sca import SparseCodingArchitecture

DEFENSES: dict[str, type[Defense]] = {
    defense.name: defense for defense in (NoDefense, Laplace, SparseCodingArchitecture)
}
DEFENSES.update({point.name: point.load() for point in entry_points(group="splitfed.defenses")})

__all__ = ["DEFENSES", "Defense", "build"]


def build(name: str, options: dict[str, object]) -> Defense:
    """The defense of this name with these options, which the scenario has validated."""
    kind = DEFENSES[name]
    return kind(kind.Options.model_validate(options))
