"""What an attacker is told of one cell, whoever mounts it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splitfed.attacker.config import SETTLE_S, AttackerConfig, ComponentConfig
from splitfed.attacks import ATTACKS
from splitfed.attacks.effort import Effort, with_effort
from splitfed.config.components import Component
from splitfed.config.scenario import Cell, Scenario
from splitfed.types import ImageShape

NOTHING_LEARNED = "untrained"
"""Always mounted: what an attack that was never trained would report."""
LOOKED_UP = "retrieval"
"""Mounted where there is something to see: what one gets who reconstructs nothing, and looks up an image of its own."""
SEALED_SETTLE_S = 0.5
"""How long an attacker waits that will see nothing."""


def config_of(
    scenario: Scenario,
    cell: Cell,
    shape: ImageShape,
    *,
    upstream: str | None,
    knowledge: Path,
    observations: Path,
    out: Path,
    shown: Sequence[tuple[int, int, int, int]] = (),
) -> AttackerConfig:
    """The settings of the attacker of one cell: the mechanism, which everyone knows, and its folders.

    Args:
        scenario: the experiment.
        cell: the defense and the seed.
        shape: of an image.
        upstream: where its relay leads; None where the server itself looks on.
        knowledge: see `AttackerConfig`, as the others.
        shown: what it reconstructs for the live view, see there too.
    """
    # at a sealed wire there is nothing to attack: the relay is up, and no attack learns for hours what it cannot use
    attacks = [] if scenario.sealed else [_at_effort(a, scenario.attacker.effort) for a in scenario.attack]
    controls = [NOTHING_LEARNED] if scenario.sealed else [NOTHING_LEARNED, LOOKED_UP]
    named = {attack.name for attack in attacks}
    attacks += [ComponentConfig(name=control) for control in controls if control not in named]
    return AttackerConfig(
        upstream=upstream,
        knowledge=knowledge.resolve(),
        observations=observations.resolve(),
        out=out.resolve(),
        shape=shape,
        width=scenario.model.width,
        hidden_layers=scenario.client_layers,
        seed=cell.seed,
        defense=ComponentConfig(name=cell.defense.name, options=cell.defense.options),
        labels_in_clear=scenario.federation.labels == "server",
        attacks=tuple(attacks),
        live_aux=scenario.attacker.live_aux,
        live_images=scenario.attacker.live_images,
        shown=tuple(shown),
        # clients that hold the truth score reconstructions of the audit alone
        training_streams=scenario.attacker.training_streams and scenario.truth == "lab",
        keep_rounds=scenario.attacker.keep_rounds,
        threads=scenario.attacker.threads,
        settle_s=SEALED_SETTLE_S if scenario.sealed else SETTLE_S,
    )


def _at_effort(attack: Component, effort: Effort) -> ComponentConfig:
    return ComponentConfig(name=attack.name, options=with_effort(ATTACKS[attack.name], attack.options, effort))
