"""The plug-in of docs/add_a_defense.md works as printed, from outside the package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from splitfed import data
from tests.installed import install

PAGE = Path(__file__).parents[2] / "docs" / "add_a_defense.md"


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    """The page's listings, in order: the module, its project file, the scenario."""
    return re.findall(r"```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def _install(folder: Path, module: str, project: str) -> None:
    """What pip would leave: the module, and the metadata with its entry points."""
    (folder / "topk_defense.py").write_text(module, encoding="utf-8")
    table = tomllib.loads(project)["project"]
    metadata = folder / f"topk_defense-{table['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n", encoding="utf-8"
    )
    lines = [
        line
        for group, points in table["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _splitfed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "splitfed", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_is_twenty_lines_and_runs_valid_beside_the_others(blocks: list[str], tmp_path: Path) -> None:
    module, project, scenario = blocks[:3]
    written = [line for line in module.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(written) <= 20
    _install(tmp_path, module, project)
    (tmp_path / "compare.toml").write_text(scenario, encoding="utf-8")
    ran = _splitfed(tmp_path, "scenario", "compare.toml", "--out", "runs", "--live", "none")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (found,) = (tmp_path / "runs").glob("*/results.json")
    cells = {cell["defense"]: cell for cell in json.loads(found.read_text())["cells"]}
    assert cells["top_k"]["valid"]
    assert "[0, 0.125] wanted" in cells["top_k"]["gate_details"]["defense_acts"]


def test_switched_off_it_is_marked_invalid(blocks: list[str], tmp_path: Path) -> None:
    module, project, scenario = blocks[:3]
    broken = module.replace("return output * ", "return output + 0 * ")
    assert broken != module
    _install(tmp_path, broken, project)
    (tmp_path / "compare.toml").write_text(scenario, encoding="utf-8")
    chosen = ["--set", 'defense=["top_k"]', "--set", 'attack=["ridge"]']
    ran = _splitfed(tmp_path, "scenario", "compare.toml", *chosen, "--out", "runs", "--live", "none")
    assert ran.returncode == 3, ran.stdout + ran.stderr


def test_a_plug_in_that_says_nothing_of_itself_is_refused(blocks: list[str], tmp_path: Path) -> None:
    module, project, scenario = blocks[:3]
    _install(tmp_path, re.sub(r"    about = .*\n", "", module), project)
    (tmp_path / "compare.toml").write_text(scenario, encoding="utf-8")
    listed = _splitfed(tmp_path, "defenses")
    assert listed.returncode == 0
    ran = _splitfed(tmp_path, "scenario", "compare.toml")
    assert ran.returncode == 2
    for told in (listed.stdout, ran.stderr):
        assert "plug-in top_k of splitfed.defenses" in told
        assert "TopK lacks about; set each to one line of text" in told


def test_the_data_set_of_the_page_is_loaded(blocks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "stripes", blocks[3], {"datasets": {"stripes": "STRIPES"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stripes", raising=False)  # another test's, of the same name
    stripes = data.load("stripes", image_size=12)
    assert stripes.shape == (1, 12, 12)
    assert (stripes.pixels[stripes.labels == 0].std(axis=2) == 0).all()
    assert (stripes.pixels[stripes.labels == 1].std(axis=3) == 0).all()
