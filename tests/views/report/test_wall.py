"""The wall of a report holds a bounded number of pictures, and these are the run's own."""

from __future__ import annotations

import base64
import doctest
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from splitfed.records.sheets import load_tiles
from splitfed.records.store import RunStore
from splitfed.records.wall import WallFolder
from splitfed.views.report import wall
from splitfed.views.report.report import write_report
from tests.views.fabricated import CELLS, ROUNDS, TILE, manifest, run_events, run_results
from tests.views.hung import hang

COUNT = 60


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.create(tmp_path, "medmnist_split", manifest()) as created:
        created.save_results(run_results())
        yield created


def tiles(source: str, count: int) -> np.ndarray:
    """The images in a sheet that the page carries."""
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    picture = np.asarray(Image.open(io.BytesIO(data)))
    return np.stack([picture[:, TILE * place : TILE * (place + 1)] for place in range(count)])


def shown(store: RunStore) -> dict[str, Any]:
    found = wall.section(store.path, store.results, dict.fromkeys(CELLS, ROUNDS))
    assert found is not None
    return found


def test_the_examples_hold() -> None:
    assert doctest.testmod(wall).failed == 0


def test_the_pictures_are_those_of_the_run(store: RunStore) -> None:
    hang(store.path, COUNT)
    found = shown(store)
    assert found["victims"] == list(range(wall.MOST_VICTIMS))
    kept = load_tiles(WallFolder(store.path).path / "originals-0.png", COUNT, TILE, TILE)[:, 0]
    originals = tiles(found["originals"], wall.MOST_VICTIMS)
    assert (originals == kept[: wall.MOST_VICTIMS]).all()
    assert [(column["cell"], column["attack"]) for column in found["columns"]] == [(cell, "decoder") for cell in CELLS]
    moment, final = found["columns"][0]["steps"]
    assert (tiles(moment["sheet"], wall.MOST_VICTIMS) == originals).all()
    assert (tiles(final["sheet"], wall.MOST_VICTIMS) == kept[::-1][: wall.MOST_VICTIMS]).all()
    attack = WallFolder(store.path).attack(CELLS[0], "decoder")
    assert attack is not None
    assert attack.final is not None
    assert final["psnr_db"] == list(attack.final.psnr_db[: wall.MOST_VICTIMS])
    assert moment["when"] == "round 1, epoch 1"


def test_the_page_carries_it_and_says_how_it_was_chosen(store: RunStore) -> None:
    hang(store.path, COUNT)
    for event in run_events(store.path):
        store.append_event(event)
    raw = write_report(store).read_text()
    assert "24 of 6,000 private images, chosen by number, never by looks" in raw
    (text,) = re.findall(r'<script type="application/json" id="drawn">(.*?)</script>', raw)
    assert json.loads(text)["wall"]["victims"] == list(range(wall.MOST_VICTIMS))


def test_a_moment_whose_picture_is_lost_is_left_out(store: RunStore) -> None:
    hang(store.path, COUNT)
    (WallFolder(store.path).cell(CELLS[0]) / "decoder@0.png").unlink()
    assert [len(column["steps"]) for column in shown(store)["columns"]] == [1, 2, 2]


def test_a_moment_after_the_last_round_is_after_training(store: RunStore) -> None:
    hang(store.path, COUNT)
    found = wall.section(store.path, store.results, dict.fromkeys(CELLS, 0))
    assert found is not None
    assert found["columns"][0]["steps"][0]["when"] == "after training, epoch 1"


@pytest.mark.parametrize("damage", ["victims.json", "originals-0.png", "none"])
def test_a_damaged_wall_costs_the_report_its_wall_alone(store: RunStore, damage: str) -> None:
    if damage != "none":
        hang(store.path, COUNT)
        (WallFolder(store.path).path / damage).write_text("{")
    assert wall.section(store.path, store.results, {}) is None
    assert "<h2>The wall</h2>" not in write_report(store).read_text()
