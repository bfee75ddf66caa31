"""The plug-in of docs/add_a_dataset.md works as printed, from outside the package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from splitfed import data
from splitfed.data import DatasetSource, Decoded
from tests.docs.blocks import ROOT
from tests.docs.plugin_page import PluginPage, run_scenario, splitfed


@pytest.fixture(scope="module")
def page() -> PluginPage:
    return PluginPage("add_a_dataset.md")


def test_its_images_are_loaded(page: PluginPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "stripes", raising=False)  # another test's, of the same name
    stripes = data.load("stripes", image_size=12)
    assert stripes.shape == (1, 12, 12)
    assert (stripes.pixels[stripes.labels == 0].std(axis=2) == 0).all()
    assert (stripes.pixels[stripes.labels == 1].std(axis=3) == 0).all()


def test_it_is_checked_and_run(page: PluginPage, tmp_path: Path) -> None:
    page.install(tmp_path)
    checked = splitfed(tmp_path, "data", "check", "stripes")
    assert checked.returncode == 0, checked.stderr
    assert "vertical" in checked.stdout
    ran = run_scenario(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "synthetic" in ran.stdout.lower()


def test_the_page_names_every_field() -> None:
    text = (ROOT / "docs" / "add_a_dataset.md").read_text(encoding="utf-8")
    assert not {name for name in Decoded._fields if f"`{name}`" not in text}
    said = set(DatasetSource.__annotations__) - {"name", "summary"}
    assert not {name for name in said if f"`{name}`" not in text}
