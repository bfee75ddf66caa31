"""The scenarios that ship with splitfed, and where a name or a path leads."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from splitfed.errors import ScenarioError, unknown
from splitfed.files import as_path


def scenario_dirs() -> tuple[Path, ...]:
    """Where shipped scenarios lie: beside the package in a checkout, under the prefix when installed."""
    return (
        Path(__file__).resolve().parents[2] / "scenarios",
        Path(sys.prefix) / "share" / "splitfed" / "scenarios",
    )


def shipped() -> dict[str, Path]:
    """Name -> file of every shipped scenario."""
    files = (file for folder in reversed(scenario_dirs()) for file in sorted(folder.glob("*.toml")))
    return {file.stem: file for file in files}


def describe_shipped() -> list[tuple[str, str]]:
    """Name and one line of every shipped scenario."""
    described = []
    for name, path in sorted(shipped().items()):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        described.append((name, str(table.get("about", ""))))
    return described


def find(name: str | Path) -> Path:
    """The file of a shipped scenario's name, or of a path.

    Raises:
        ScenarioError: there is none.
    """
    path = as_path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise ScenarioError(f"no such scenario file: {path}. Shipped scenarios: {', '.join(sorted(shipped()))}")
    known = shipped()
    if str(name) not in known:
        raise ScenarioError(unknown("scenario", str(name), known) + ". Or give the path of a .toml file")
    return known[str(name)]
