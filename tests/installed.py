"""Plug-ins as pip would leave them: modules with their metadata in a folder of their own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent


def install(folder: Path, package: str, source: str, points: Mapping[str, Mapping[str, str]]) -> None:
    """Put a package into a folder: one module of its name, and by group the entry points with what they name in it."""
    (folder / f"{package}.py").write_text(dedent(source), encoding="utf-8")
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    lines = [
        line
        for group, targets in points.items()
        for line in (f"[splitfed.{group}]", *(f"{name} = {package}:{target}" for name, target in targets.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    importlib.invalidate_caches()


def splitfed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that sees what is installed in this folder, and works there."""
    return subprocess.run(
        [sys.executable, "-m", "splitfed", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
