"""The picture of the leak: drawn from a run's records, small, and never of real images."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.docs.blocks import ROOT, script_of


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return script_of("make_leak_picture")


def _run(folder: Path, *, synthetic: bool) -> Path:
    (folder / "images").mkdir()
    (folder / "results.json").write_text(json.dumps({"dataset": {"synthetic": synthetic}}), encoding="utf-8")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 600, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "comparison.png")
    return folder


def test_it_is_the_comparison_of_the_run(script: ModuleType, tmp_path: Path) -> None:
    script.draw(_run(tmp_path, synthetic=True), tmp_path / "leak.png")
    with Image.open(tmp_path / "leak.png") as picture:
        assert picture.size == (600, 300)


def test_real_images_are_refused(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="real images"):
        script.draw(_run(tmp_path, synthetic=False), tmp_path / "leak.png")
    assert not (tmp_path / "leak.png").exists()


def test_the_committed_one_is_small() -> None:
    assert 5_000 < (ROOT / "docs" / "leak.png").stat().st_size < 100_000


def test_its_settings_are_a_scenarios(script: ModuleType) -> None:
    import splitfed

    scenario = splitfed.load("medmnist_split", overrides=script.OVERRIDES)
    assert scenario.data.name == "phantoms"
    assert [defense.name for defense in scenario.defense] == ["none", "laplace", "sca"]
