"""The plug-in of docs/add_a_defense.md works as printed, from outside the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.plugin_page import PluginPage, cells, run_scenario, splitfed


@pytest.fixture(scope="module")
def page() -> PluginPage:
    return PluginPage("add_a_defense.md")


def test_it_is_twenty_lines_and_runs_valid_beside_the_others(page: PluginPage, tmp_path: Path) -> None:
    written = [line for line in page.module.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(written) <= 20
    page.install(tmp_path)
    ran = run_scenario(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = cells(tmp_path)
    assert found["top_k"]["valid"]
    assert "[0, 0.125] wanted" in found["top_k"]["gate_details"]["defense_acts"]


def test_switched_off_it_is_marked_invalid(page: PluginPage, tmp_path: Path) -> None:
    broken = page.module.replace("return output * ", "return output + 0 * ")
    assert broken != page.module
    page.install(tmp_path, broken)
    ran = run_scenario(tmp_path, "--set", 'defense=["top_k"]', "--set", 'attack=["ridge"]')
    assert ran.returncode == 3, ran.stdout + ran.stderr


def test_a_plug_in_that_says_nothing_of_itself_is_refused(page: PluginPage, tmp_path: Path) -> None:
    page.install(tmp_path, re.sub(r"    about = .*\n", "", page.module))
    listed = splitfed(tmp_path, "defenses")
    assert listed.returncode == 0
    ran = run_scenario(tmp_path)
    assert ran.returncode == 2
    for told in (listed.stdout, ran.stderr):
        assert "plug-in top_k of splitfed.defenses" in told
        assert "TopK lacks about; set each to one line of text" in told
