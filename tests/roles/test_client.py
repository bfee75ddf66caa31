"""What a client holds: its share of a data set, or a folder of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from splitfed import data
from splitfed.config.load import validate
from splitfed.config.scenario import Scenario
from splitfed.data import Dataset
from splitfed.errors import DataError
from splitfed.federation.job import Job
from splitfed.federation.shares import shares, split_images
from splitfed.roles.client import HeldImages, hold_out
from splitfed.roles.config import ClientOptions, OwnImages
from splitfed.types import ImageShape

DIGITS = ImageShape(1, 8, 8)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    table = {
        "name": "small",
        "data": {"name": "digits", "train": 300, "aux": 100, "test": 90},
        "federation": {"clients": 3},
        "defense": [{"name": "none"}],
        "attack": [{"name": "ridge"}],
    }
    return validate(table, source="small")


def job_of(scenario: Scenario, shape: ImageShape = DIGITS, classes: int = 10) -> Job:
    return Job("run/cell", scenario, scenario.cells()[0], shape, classes)


@pytest.fixture
def xrays(tmp_path: Path) -> Path:
    """Two classes, 40 distinct images of 16 × 16 each, of which 10 are there twice."""
    rng = np.random.default_rng(0)
    for name in ("ill", "well"):
        folder = tmp_path / "xrays" / name
        folder.mkdir(parents=True)
        for number in range(40):
            pixels = Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8))
            pixels.save(folder / f"{number}.png")
            if number < 10:
                pixels.save(folder / f"{number} again.png")
    return tmp_path / "xrays"


def test_a_share_is_the_one_that_the_lab_deals(scenario: Scenario) -> None:
    dealt = shares(scenario, split_images(scenario, data.load("digits"), scenario.seed), scenario.seed)
    for number, share in enumerate(dealt):
        held = HeldImages(ClientOptions(client=number))(job_of(scenario), number)
        assert torch.equal(held.train.pixels, share.train.pixels)
        assert torch.equal(held.test.labels, share.test.labels)


def test_a_folder_is_held_out_in_part_and_no_image_is_in_both(scenario: Scenario, xrays: Path) -> None:
    own = OwnImages(folder=xrays, held_out=0.25)
    held = HeldImages(ClientOptions(images=own))(job_of(scenario, ImageShape(1, 16, 16), classes=2), 0)
    assert len(held.train) + len(held.test) == 80
    assert abs(len(held.test) - 20) <= 1
    assert not set(held.train.content_hashes()) & set(held.test.content_hashes())


def test_images_of_a_patient_stay_on_one_side() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (200, 1, 8, 8), dtype=np.uint8)
    patients = np.repeat(np.arange(50), 4)
    dataset = Dataset("x", pixels, np.zeros(200, np.int64), ("a",), False, "drawn", groups=patients)
    trained, held = hold_out(dataset, 0.2, seed=0)
    assert trained.groups is not None
    assert held.groups is not None
    assert not set(trained.groups.tolist()) & set(held.groups.tolist())
    assert (len(trained), len(held)) == (160, 40)


def test_labels_count_through_all_classes_of_the_task(scenario: Scenario, xrays: Path) -> None:
    own = OwnImages(folder=xrays, classes=("well", "doubtful", "ill"))
    held = HeldImages(ClientOptions(images=own))(job_of(scenario, ImageShape(1, 16, 16), classes=3), 0)
    assert held.train.classes == ("well", "doubtful", "ill")
    assert set(held.train.labels.tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("shape", "classes", "named", "message"),
    [
        (ImageShape(3, 16, 16), 2, (), r"images are \(1, 16, 16\); this run is of \(3, 16, 16\)"),
        (ImageShape(1, 16, 16), 5, (), "have 2 classes; this run has 5"),
        (ImageShape(1, 16, 16), 2, ("well", "sick"), r"ill: no class of images.classes \(well, sick\)"),
    ],
)
def test_what_does_not_fit_is_said(
    scenario: Scenario, xrays: Path, shape: ImageShape, classes: int, named: tuple[str, ...], message: str
) -> None:
    held = HeldImages(ClientOptions(images=OwnImages(folder=xrays, classes=named)))
    with pytest.raises(DataError, match=message):
        held(job_of(scenario, shape, classes), 0)
