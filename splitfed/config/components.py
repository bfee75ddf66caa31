"""The defenses and attacks that a scenario names, and what their cells are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict


class Component(BaseModel):
    """A defense or an attack by name, with options that its own class validates."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    label: str | None = None
    """What the cell is called; the name by default, made distinct where it occurs twice."""

    @property
    def options(self) -> dict[str, Any]:
        """The component's own options as written."""
        return dict(self.model_extra or {})

    @property
    def title(self) -> str:
        """The label; without one the name, and of a stack the names of its layers: "sca+laplace"."""
        return self.label or "+".join(layer["name"] for layer in self.layers) or self.name

    @property
    def layers(self) -> Sequence[Mapping[str, Any]]:
        """The tables of a stack's layers; empty for any other component."""
        return self.options["layers"] if self.name == "stack" else ()


def distinct_labels(components: Sequence[Component]) -> list[str]:
    """A distinct name per component: its title, with its options where that occurs twice."""
    plain = [c.title for c in components]
    labels = [
        label if plain.count(label) == 1 else "-".join([label, *_options(component)])
        for label, component in zip(plain, components, strict=True)
    ]
    seen: dict[str, int] = {}
    for position, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[position] = f"{label}-{seen[label]}"
    return labels


def _options(component: Component) -> list[str]:
    """Each option with its value; of a stack, those of its layers."""
    tables = component.layers or [component.options]
    return [f"{k}{v}" for table in tables for k, v in sorted(table.items()) if k != "name"]
