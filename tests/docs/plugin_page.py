"""The package that a page on plug-ins prints, installed and run as a reader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from tests.docs.blocks import ROOT, blocks


class PluginPage:
    """A page whose first listings are a module, its project file, and a scenario.

    Attributes:
        module: the listing that is the plug-in.
        project: its `pyproject.toml`.
        scenario: a scenario that names it.
    """

    def __init__(self, name: str) -> None:
        self.module, self.project, self.scenario = (block.text for block in blocks(ROOT / "docs" / name)[:3])

    def install(self, folder: Path, module: str | None = None) -> None:
        """Put there what pip would: the module, and the metadata with its entry points; and the scenario beside it."""
        table = tomllib.loads(self.project)["project"]
        points: dict[str, dict[str, str]] = table["entry-points"]
        ((target,),) = ([point.partition(":")[0] for point in group.values()] for group in points.values())
        (folder / f"{target}.py").write_text(module or self.module, encoding="utf-8")
        metadata = folder / f"{table['name'].replace('-', '_')}-{table['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n", encoding="utf-8"
        )
        lines = [
            line
            for group, named in points.items()
            for line in (f"[{group}]", *(f"{name} = {target}" for name, target in named.items()))
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "scenario.toml").write_text(self.scenario, encoding="utf-8")


def splitfed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that sees what is installed in this folder, and works there."""
    return python(folder, "-m", "splitfed", *arguments)


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same of Python itself."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def run_scenario(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The page's scenario, without a view."""
    return splitfed(folder, "scenario", "scenario.toml", *arguments, "--out", "runs", "--live", "none")


def cells(folder: Path) -> dict[str, Any]:
    """What the one run in this folder found, by defense."""
    (found,) = (folder / "runs").glob("*/results.json")
    return {cell["defense"]: cell for cell in json.loads(found.read_text(encoding="utf-8"))["cells"]}
