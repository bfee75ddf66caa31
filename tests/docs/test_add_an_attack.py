"""The plug-in of docs/add_an_attack.md works as printed, from outside the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from splitfed.attacks import Attack
from tests.docs.blocks import ROOT
from tests.docs.plugin_page import PluginPage, cells, run_scenario, splitfed


@pytest.fixture(scope="module")
def page() -> PluginPage:
    return PluginPage("add_an_attack.md")


def test_it_is_scored_beside_ridge_on_every_cell(page: PluginPage, tmp_path: Path) -> None:
    page.install(tmp_path)
    ran = run_scenario(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = cells(tmp_path)
    for cell in found.values():
        assert cell["valid"]
        assert set(cell["attacks"]) == {"ridge", "nearest", "ridge@TRAIN3"}
        assert cell["gates"]["attack_learned"]
    # the nearest of 480 images says more of an image than their mean does
    assert found["none"]["attacks"]["nearest"]["psnr_excess_db"] > 0


def test_that_learns_nothing_it_is_marked_invalid(page: PluginPage, tmp_path: Path) -> None:
    broken = page.module.replace("self._k = min(self.options.k, len(self._images))", "pass")
    assert broken != page.module
    page.install(tmp_path, broken)
    ran = run_scenario(tmp_path, "--set", 'defense=["none"]', "--set", 'attack=["ridge", "nearest"]')
    assert ran.returncode == 3, ran.stdout + ran.stderr
    assert not cells(tmp_path)["none"]["gates"]["attack_learned"]


def test_that_says_nothing_of_noise_it_is_refused(page: PluginPage, tmp_path: Path) -> None:
    page.install(tmp_path, re.sub(r"    adaptivity = .*\n", "", page.module))
    listed = splitfed(tmp_path, "attacks")
    assert listed.returncode == 0
    assert "Nearest lacks adaptivity; set each to one line of text" in " ".join(listed.stdout.split())


def test_the_page_names_every_method() -> None:
    text = (ROOT / "docs" / "add_an_attack.md").read_text(encoding="utf-8")
    own = {name for name in vars(Attack) if not name.startswith("_")} - {"name", "about", "options", "Options"}
    assert not {name for name in own if f"`{name}`" not in text}
