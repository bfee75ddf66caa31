"""What the attacker's settings name: its attacks, and the defense that it knows to be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import ValidationError

from splitfed.attacker.config import ComponentConfig
from splitfed.attacks import Attack
from splitfed.defenses import Defense
from splitfed.errors import ScenarioError, unknown
from splitfed.options import explain

Component = TypeVar("Component")


def built(
    kind: str,
    wanted: ComponentConfig,
    known: Mapping[str, type[Attack] | type[Defense]],
    build: Callable[[str, dict[str, object]], Component],
) -> Component:
    """The attack or defense that the settings name.

    Raises:
        ScenarioError: there is none of that name, or its options do not fit.
    """
    if wanted.name not in known:
        raise ScenarioError(unknown(kind, wanted.name, known))
    try:
        return build(wanted.name, wanted.options)
    except ValidationError as error:
        raise ScenarioError(explain(error, known[wanted.name].Options, f"{kind} {wanted.name!r}")) from None
