"""Whether what a scenario names exists and goes together: the one place that holds it against the registries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from splitfed.attacks import ATTACKS
from splitfed.config.components import Component
from splitfed.config.scenario import CLIENTS_OWN, Scenario
from splitfed.data import check_name
from splitfed.defenses import DEFENSES, build
from splitfed.errors import DataError, ScenarioError, unknown
from splitfed.options import explain
from splitfed.plugins import Registry
from splitfed.wire.codec import CODECS
from splitfed.wire.limits import MAX_MESSAGE_BYTES, frame_bytes, largest_batch


def check(scenario: Scenario, source: str) -> None:
    """Whether data set, codec, defenses and attacks exist, have these options, and go together.

    Raises:
        ScenarioError: names `source`, the key, what was found and what is allowed.
    """

    for key, name in (("data.name", scenario.data.name), ("data.fallback", scenario.data.fallback)):
        try:
            if name is not None and name != CLIENTS_OWN:
                check_name(name)
        except DataError as error:
            raise ScenarioError(f"{source}: {key}: {error}") from error
    if scenario.federation.codec not in CODECS:
        raise ScenarioError(f"{source}: federation.codec: {unknown('codec', scenario.federation.codec, CODECS)}")
    registries: Iterable[tuple[str, Sequence[Component], Registry[Any]]] = (
        ("defense", scenario.defense, DEFENSES),
        ("attack", scenario.attack, ATTACKS),
    )
    for kind, components, registry in registries:
        for component in components:
            if component.name not in registry:
                raise ScenarioError(f"{source}: {registry.why_not(component.name)}")
            options = registry[component.name].Options
            try:
                options.model_validate(component.options)
            except ValidationError as error:
                where = f"{source}: {kind} {component.name!r}"
                raise ScenarioError(explain(error, options, where)) from None
    if CODECS[scenario.federation.codec].mixes_samples:
        _check_per_sample(scenario, source)
    if scenario.federation.labels == "client":
        _check_two_parts(scenario, source)
    _check_frames(scenario, source)


def _check_frames(scenario: Scenario, source: str) -> None:
    """Refuse batches that may not fit into a frame, as each client would find out with its first one."""

    federation = scenario.federation
    for component in scenario.defense:
        numbers = build(component.name, component.options).released(scenario.model.width)
        made_by = f"as defense {component.title!r} releases them"
        if federation.labels == "client" and scenario.model.width > numbers:
            numbers, made_by = scenario.model.width, "as the server's layers answer where labels stay with the client"
        # once decoded, a tensor takes 4 bytes a number whatever the codec is
        image_bytes = max(4 * numbers, CODECS[federation.codec].most_bytes(numbers))
        needed_bytes = frame_bytes(federation.batch_size, image_bytes)
        if needed_bytes > MAX_MESSAGE_BYTES:
            most = largest_batch(image_bytes)
            way_out = f"use a federation.batch_size of at most {most}, or a smaller" if most > 1 else "use a smaller"
            raise ScenarioError(
                f"{source}: federation.batch_size ({federation.batch_size}) images of {numbers:,} numbers each, "
                f"{made_by}, take up to {needed_bytes:,} bytes in codec "
                f"{federation.codec!r}; a frame holds {MAX_MESSAGE_BYTES:,}: {way_out} model.width"
            )


def _check_per_sample(scenario: Scenario, source: str) -> None:
    """Refuse defenses whose promise a codec that mixes the samples of a batch would break."""

    for component in scenario.defense:
        if build(component.name, component.options).per_sample:
            raise ScenarioError(
                f"{source}: federation.codec {scenario.federation.codec!r} mixes the samples of a batch, and defense "
                f"{component.title!r} promises something of each sample by itself; use float32, float16, bfloat16 or "
                f"sparse, or leave the defense out"
            )


def _check_two_parts(scenario: Scenario, source: str) -> None:
    """Refuse defenses whose bound on each sample's gradient front and back share: there are three parts here."""

    for component in scenario.defense:
        if build(component.name, component.options).per_sample:
            raise ScenarioError(
                f'{source}: federation.labels = "client" cuts the network into three parts, and defense '
                f'{component.title!r} bounds each sample\'s gradient in two, front and back; use labels = "server", or '
                "leave the defense out"
            )
