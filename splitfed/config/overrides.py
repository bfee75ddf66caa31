"""``--set key=value``: one key of a scenario's table, replaced before it is validated."""

from __future__ import annotations

import tomllib
from typing import Any

from splitfed.errors import ScenarioError, unknown


def override(table: dict[str, Any], setting: str) -> None:
    """Apply one setting, such as ``data.train=3000``. The value is TOML; what is not, is a string.

    Raises:
        ScenarioError: it is no such pair, or its key leads nowhere.
    """
    key, separator, text = setting.partition("=")
    if not separator or not key.strip():
        raise ScenarioError(f"--set {setting}: expected key=value, for example --set data.train=3000")
    assign(table, key.strip(), _toml_value(text.strip()), source=f"--set {setting}")


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def assign(table: dict[str, Any], key: str, value: Any, *, source: str) -> None:
    """Set a dotted key; ``defense.NAME.option`` reaches every entry of that name."""
    head, _, rest = key.partition(".")
    if head in ("defense", "attack"):
        _assign_component(table, head, rest, value, source)
        return
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"{source}: {parent} is a value, not a table")
    table[last] = value


def _assign_component(table: dict[str, Any], kind: str, rest: str, value: Any, source: str) -> None:
    entries = table.get(kind, [])
    if not rest:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ScenarioError(f'{source}: expected a list of names, for example {kind}=["none", "sca"]')
        table[kind] = [entry for n in names for entry in ([e for e in entries if e.get("name") == n] or [{"name": n}])]
        return
    name, _, option = rest.partition(".")
    chosen = [entry for entry in entries if entry.get("name") == name]
    if not option:
        raise ScenarioError(f"{source}: expected {kind}.NAME.OPTION=value, for example {kind}.{name}.option=1")
    if not chosen:
        present = [str(entry.get("name")) for entry in entries]
        raise ScenarioError(f"{source}: {unknown(f'{kind} of this scenario', name, present)}")
    for entry in chosen:
        entry[option] = value
