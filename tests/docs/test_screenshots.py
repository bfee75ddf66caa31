"""The pictures of the live view: all are there, small, in the README, and of a scenario that exists."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import splitfed
from tests.docs.blocks import ROOT, script_of

SCREENS = ROOT / "docs" / "screens"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_of("make_screenshots")


def test_all_are_there_small_and_shown(script: ModuleType) -> None:
    names = {f"{page}-{screen}.png" for page, screen in product(("live", "finished", "report"), script.SCREENS)}
    assert {path.name for path in SCREENS.iterdir()} == names
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in names:
        path = SCREENS / name
        assert 5_000 < path.stat().st_size < script.MOST_BYTES
        assert f"docs/screens/{name}" in readme
        with Image.open(path) as picture:
            viewport = script.SCREENS[path.stem.rpartition("-")[2]]["viewport"]
            assert picture.size == (viewport["width"], viewport["height"])


def test_the_settings_are_a_scenarios_on_drawn_images(script: ModuleType) -> None:
    scenario = splitfed.load("medmnist_split", overrides=script.OVERRIDES)
    assert scenario.data.name == "phantoms"
    assert script.CELL in [defense.name for defense in scenario.defense]


def test_a_picture_that_stays_too_large_is_refused(script: ModuleType, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (800, 900, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    with pytest.raises(SystemExit, match=r"noise\.png is [\d,]+ bytes, over 300,000"):
        script._smaller(tmp_path / "noise.png")
