"""The base of everything that a file of settings can hold, and what to say when it does not fit."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

RENAMED = {
    "augmented_copies_dear": "augmented_copies_expensive",
    "batch": "batch_size",
    "first_batch": "first_batch_size",
    "optimiser": "optimizer",
    "size": "image_size",
    "sparsity": "l1_weight",
}
"""Keys of earlier versions, and what they are called today wherever that is a key."""


class Options(BaseModel):
    """A table of a scenario: unknown keys are refused, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One line per mistake: where, what was found, what is allowed, the nearest valid key."""
    return "\n".join(_explain_one(dict(item), model, source) for item in error.errors())


def _explain_one(item: dict[str, Any], model: type[BaseModel], source: str) -> str:
    location = tuple(item["loc"])
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        fields = _fields_at(model, location[:-1])
        new = RENAMED.get(str(location[-1]))
        if new in fields:
            return f"{source}: {key} was renamed: write {'.'.join(map(str, (*location[:-1], new)))}"
        near = get_close_matches(str(location[-1]), fields, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{source}: unknown key {key}; {hint}Allowed: {', '.join(sorted(fields)) or 'none'}"
    if item["type"] == "missing":
        return f"{source}: {key} is missing"
    if not key:
        return f"{source}: {str(item['msg']).removeprefix('Value error, ')}"
    return f"{source}: {key} = {item['input']!r}: {item['msg']}"


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed in the table at this place."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            model = field.annotation
    return list(model.model_fields)
