"""From a TOML file to a scenario: read, overridden, validated once at the edge."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from splitfed.config.checks import check
from splitfed.config.overrides import assign, override
from splitfed.config.scenario import Scenario
from splitfed.config.shipped import find
from splitfed.config.tables import DataOptions
from splitfed.errors import ScenarioError
from splitfed.options import Options, explain


def load(name: str | Path, *, overrides: Sequence[str] = (), quick: bool = False) -> Scenario:
    """The scenario of this name or file, with `key=value` overrides applied.

    Args:
        name: a shipped scenario's name, or the path of a TOML file.
        overrides: ``"data.train=3000"``, ``"defense.laplace.scale=1.0"``, ``'defense=["none", "sca"]'``. Values are
            TOML; what is not, is a string.
        quick: also apply the file's ``[quick]`` table, before the overrides.

    Raises:
        ScenarioError: no such scenario, not TOML, or a key or value that does not fit.
    """
    path = find(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path.name} is not valid TOML: {error}") from error
    shortcuts = table.pop("quick", {})
    if quick:
        if not isinstance(shortcuts, dict) or not shortcuts:
            raise ScenarioError(f"{path.name} has no [quick] table; run it without --quick, or use --set")
        for key, value in shortcuts.items():
            assign(table, key, value, source=f"{path.name} [quick]")
    for setting in overrides:
        override(table, setting)
    return validate(table, source=path.name)


def data_options(name: str, overrides: Sequence[str]) -> DataOptions:
    """The ``data`` table of a scenario by itself, with ``data.key=value`` overrides.

    Raises:
        ScenarioError: a key of another table, or a value that does not fit.
    """
    table: dict[str, Any] = {"data": {"name": name}}
    for setting in overrides:
        override(table, setting)
    if set(table) != {"data"}:
        other = next(key for key in table if key != "data")
        raise ScenarioError(f"--set {other}: expected a key of data, such as --set data.image_size=64")
    try:
        return _DataAlone.model_validate(table).data
    except ValidationError as error:
        raise ScenarioError(explain(error, _DataAlone, "--set")) from None


class _DataAlone(Options):
    """A scenario of which only the table of the data matters."""

    data: DataOptions


def validate(table: Mapping[str, Any], *, source: str) -> Scenario:
    """The scenario that this table describes, its components' options checked by their own classes.

    Raises:
        ScenarioError: names `source`, the key, what was found and what is allowed.
    """
    try:
        scenario = Scenario.model_validate(table)
    except ValidationError as error:
        raise ScenarioError(explain(error, Scenario, source)) from None
    check(scenario, source)
    return scenario
