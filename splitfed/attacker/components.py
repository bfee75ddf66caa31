"""What the attacker's settings name: its attacks, and the defense and the front that it knows to be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from pydantic import ValidationError

from splitfed import attacks, defenses
from splitfed.attacker.config import AttackerConfig, ComponentConfig
from splitfed.attacks import ATTACKS, Attack
from splitfed.defenses import DEFENSES, Defense
from splitfed.errors import ScenarioError, unknown
from splitfed.models.front import Front, FrontSpec
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


def built_attacks(config: AttackerConfig) -> list[Attack]:
    """All attacks of the settings, in their order, none of which has begun."""
    return [built("attack", attack, ATTACKS, attacks.build) for attack in config.attacks]


def built_defense(config: AttackerConfig) -> Defense:
    """The defense that it faces."""
    return built("defense", config.defense, DEFENSES, defenses.build)


def built_front(config: AttackerConfig) -> Front:
    """A front as the clients have it, its weights not theirs yet."""
    spec = FrontSpec(config.image_shape, config.width, config.hidden_layers)
    return built_defense(config).build_front(spec, torch.Generator())
