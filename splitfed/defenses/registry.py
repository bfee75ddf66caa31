"""The registry of defenses, empty until the package fills it: a stack finds its layers here by name."""

from __future__ import annotations

from splitfed.defenses.base import Defense
from splitfed.plugins import Registry

DEFENSES: Registry[type[Defense]] = Registry("defense", {})
"""Every defense that can be used, by name."""


def build(name: str, options: dict[str, object]) -> Defense:
    """The defense of this name with these options, which the scenario has validated."""
    kind = DEFENSES[name]
    return kind(kind.Options.model_validate(options))
