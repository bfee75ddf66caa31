"""The registry of defenses. `splitfed.defenses` fills it when it is imported, and a stack finds its layers here.

Were it in the package's own file, the two would import each other.
"""

from __future__ import annotations

from splitfed.defenses.base import Defense
from splitfed.plugins import Registry

DEFENSES: Registry[type[Defense]] = Registry("defense", {})
"""Every defense that can be used, by name."""


def build(name: str, options: dict[str, object]) -> Defense:
    """The defense of this name with these options, which the scenario has validated."""
    kind = DEFENSES[name]
    return kind(kind.Options.model_validate(options))
