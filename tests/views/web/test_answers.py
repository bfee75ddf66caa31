"""What a page is told of runs and of the wall: all that the records have, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from splitfed.records.events import Notice, RunFinished, RunStarted
from splitfed.records.sheets import TILES_PER_SHEET, load_tiles, save_sheets
from splitfed.records.store import RunStore
from splitfed.records.wall import Victims, WallActivations, WallAttack, WallFinal, WallFolder, WallShown
from tests.views.fabricated import broken, cell_result, images, run_results
from tests.views.web.pages import Page, new_run, say, serving

CELL, ATTACK = "sca, λ = 0.5/1", "decoder ½"
"""Names that are no file names."""


def started(*cells: str) -> RunStarted:
    return RunStarted(scenario="small", run_dir="", threat="split", dataset="digits", synthetic=False, cells=cells)


@pytest.fixture
def run(tmp_path: Path) -> RunStore:
    return new_run(tmp_path / "runs", started("none", "sca"))


@pytest.fixture
def page(run: RunStore) -> Iterator[Page]:
    with serving(run.path.parent) as served:
        yield served


def hang(run: RunStore, count: int = 6, *, truth: bool = True) -> None:
    """A wall with one attack; without truth, as a folder of the attacker's own has it."""
    wall, shown = WallFolder(run.path), images(count)
    if truth:
        wall.save_victims(
            Victims(
                schema=1,
                height=shown.shape[2],
                width=shown.shape[3],
                channels=shown.shape[1],
                count=count,
                of=count,
                classes=("Hand", "Head"),
                label=tuple(number % 2 for number in range(count)),
                client={"0": tuple(number % 3 for number in range(count))},
                sheets=save_sheets(wall.make(), "originals", shown),
                candidates=count,
            )
        )
    folder = wall.make(CELL)
    numbers = tuple(range(count))
    final = WallFinal(victims=numbers, of=count, sheets=save_sheets(folder, "decoder", shown))
    if truth:
        scores = {"psnr_db": (20.0,) * count, "ssim": (0.5,) * count}
        final = final.model_copy(update={**scores, "reid_rank": numbers, "nearest": ((0, 1),) * count})
    moment = WallShown(number=0, round=1, epoch=2, sheet="decoder@0.png", victims=(0, 1))
    wall.save_attack(
        WallAttack(schema=1, cell=CELL, attack=ATTACK, is_control=False, moments=(moment,), stride=1, final=final)
    )
    wall.save_activations(CELL, WallActivations(np.array([0, 2]), np.array([[0, 1.5], [3, -1]], np.float32)))


def test_the_list_tells_what_became_of_each_run(run: RunStore, page: Page) -> None:
    done = new_run(run.path.parent, started("none"), name="done")
    done.save_results(run_results(broken(cell_result("none"))))
    say(done, RunFinished(results=done.results, valid=False), Notice(message="afterwards"))
    again = new_run(run.path.parent, started("none"), name="again")
    again.save_results(run_results(cell_result("none")))
    say(again, RunFinished(results=again.results, valid=True))
    (run.path.parent / "notes").mkdir()
    (run.path.parent / "file").write_text("")
    with run.running():
        listed = {each["scenario"] + each["id"].split("-")[0]: each for each in page.get("/api/runs").json}
    found = {
        each["id"].split("-")[0]: (each["state"], each["valid"], each["cells"], each["of"]) for each in listed.values()
    }
    assert found == {
        "small": ("running", None, 0, 2),
        "done": ("stopped", False, 1, 1),
        "again": ("finished", True, 1, 1),
    }


def test_a_look_at_a_run_keeps_nobody_from_going_on_with_it(run: RunStore, page: Page) -> None:
    for _ in range(30):
        page.get("/api/runs")
        with run.running() as alone:
            assert alone


def test_a_damaged_run_is_listed_all_the_same(run: RunStore, page: Page) -> None:
    (run.path / "manifest.json").write_text("{")
    (run.path / "results.json").write_text("{")
    (listed,) = page.get("/api/runs").json
    assert (listed["id"], listed["scenario"], listed["valid"], listed["state"]) == (run.path.name, "", None, "stopped")


def test_the_last_line_is_found_however_long_it_is(run: RunStore, page: Page) -> None:
    results = run_results(*(cell_result("none", seed=number) for number in range(300)))
    say(run, RunFinished(results=results, valid=True))
    (listed,) = page.get("/api/runs").json
    assert listed["state"] == "finished"


def test_results_are_told_once_there_are_some(run: RunStore, page: Page) -> None:
    address = f"/api/runs/{run.path.name}/results"
    assert page.get(address).status == 404
    assert page.get(address).error.startswith("no results yet")
    run.save_results(run_results(cell_result("none")))
    assert page.get(address).body == (run.path / "results.json").read_bytes()


def final_of(run: RunStore, cell: str = CELL) -> str:
    return f"/api/runs/{run.path.name}/final?cell={quote(cell)}&attack={quote(ATTACK)}"


def test_the_wall_names_every_picture(run: RunStore, page: Page) -> None:
    address = f"/api/runs/{run.path.name}/wall"
    assert page.get(address).json == {"victims": None, "cells": {}}
    hang(run)
    told = page.get(address).json
    assert told["victims"]["label"] == [0, 1] * 3
    attack = told["cells"][CELL][ATTACK]
    assert attack["moments"][0]["victims"] == [0, 1]
    assert attack["final"] == {"count": 6, "of": 6}
    final = page.get(final_of(run)).json
    assert final["reid_rank"] == list(range(6))
    for folder, sheet in [("wall", told["victims"]["sheets"][0]), (final["folder"], final["sheets"][0])]:
        path = "/".join(part.replace("%", "%25") for part in (*folder.split("/"), sheet))
        assert page.get(f"/runs/{run.path.name}/files/{path}").status == 200
    assert page.get(f"{address}?cell=other").json["cells"] == {}
    for cell in ("other", "../none", ""):
        assert page.get(final_of(run, cell)).error.startswith("no such attack")


def test_figures_are_drawn_of_what_has_finished(run: RunStore, page: Page) -> None:
    address = f"/api/runs/{run.path.name}/figures"
    assert page.get(address).json == []
    run.save_results(run_results(cell_result("none"), cell_result("sca")))
    assert page.get(address).json
    (run.path / "results.json").write_text("{")
    assert "results.json is damaged" in page.get(address).error


def test_one_victim_is_told_with_all_that_is_known(run: RunStore, page: Page) -> None:
    hang(run)
    told = page.get(f"/api/runs/{run.path.name}/victim/2").json
    assert told["original"]["class"] == "Hand"
    assert told["original"]["client"] == {"0": 2}
    cell = told["cells"][CELL]
    assert cell["attacks"][ATTACK] == {
        "sheet": "decoder-0.png",
        "tile": 2,
        "psnr_db": 20.0,
        "ssim": 0.5,
        "reid_rank": 2,
        "nearest": [0, 1],
    }
    assert cell["activation"]["shape"] == [2]
    assert cell["activation"]["values"] == [3.0, -1.0]
    assert sum(cell["activation"]["histogram"]["counts"]) == 2
    assert page.get(f"/api/runs/{run.path.name}/victim/1").json["cells"][CELL]["activation"] is None


@pytest.mark.parametrize("number", ["6", "-1", "a", "1.0", "9" * 12, "²"])
def test_a_victim_that_is_none_is_said(run: RunStore, page: Page, number: str) -> None:
    hang(run)
    answer = page.get(f"/api/runs/{run.path.name}/victim/{number.replace('²', '%C2%B2')}")
    assert answer.status == 404
    assert "no victim" in answer.error


def test_without_truth_there_are_reconstructions_and_nothing_beside_them(run: RunStore, page: Page) -> None:
    hang(run, truth=False)
    told = page.get(f"/api/runs/{run.path.name}/wall").json
    assert told["victims"] is None
    final = page.get(final_of(run)).json
    assert final["victims"] == list(range(6))
    assert final["psnr_db"] == final["ssim"] == final["reid_rank"] == final["nearest"] == []
    victim = page.get(f"/api/runs/{run.path.name}/victim/0").json
    assert victim["original"] is None
    assert victim["cells"][CELL]["attacks"][ATTACK]["psnr_db"] is None


def test_a_damaged_record_costs_its_own_pictures(run: RunStore, page: Page) -> None:
    hang(run)
    folder = WallFolder(run.path).cell(CELL)
    (folder / "other.json").write_text("{")
    (folder / "activations.npz").write_bytes(b"PK\x03\x04 and so on")
    told = page.get(f"/api/runs/{run.path.name}/wall").json
    assert list(told["cells"]) == [CELL]
    assert page.get(f"/api/runs/{run.path.name}/victim/0").json["cells"][CELL]["activation"] is None
    (run.path / "wall" / "victims.json").write_text("{")
    answer = page.get(f"/api/runs/{run.path.name}/wall")
    assert answer.status == 500
    assert "victims.json is damaged" in answer.error


def test_what_nobody_has_is_said_as_json(page: Page) -> None:
    for path in ("/nowhere", "/api", "/api/runs/", "/run/", "/static"):
        answer = page.get(path)
        assert answer.status in (404, 307)
        assert answer.status == 307 or "begin at /" in answer.error or "no run" in answer.error


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 33, TILES_PER_SHEET + 5])
def test_sheets_hold_tiles_in_their_order(tmp_path: Path, channels: int, count: int) -> None:
    shown = np.random.default_rng(0).integers(0, 256, (count, channels, 4, 5), np.uint8)
    names = save_sheets(tmp_path, "a", shown)
    assert len(names) == -(-count // TILES_PER_SHEET)
    found = [
        load_tiles(tmp_path / name, min(TILES_PER_SHEET, count - start), 4, 5)
        for name, start in zip(names, range(0, count, TILES_PER_SHEET), strict=True)
    ]
    assert np.array_equal(np.concatenate(found), shown)
    with pytest.raises(ValueError, match="want 2000 tiles"):
        load_tiles(tmp_path / names[0], 2000, 4, 5)


def test_the_page_itself_names_the_run(run: RunStore, page: Page) -> None:
    assert run.path.name.encode() in page.get(f"/run/{run.path.name}").body
    assert page.get("/").status == 200
    with serving(run.path) as alone:
        assert run.path.name.encode() in alone.get("/").body
        assert [listed["id"] for listed in alone.get("/api/runs").json] == [run.path.name]
    assert json.loads(page.get("/api/runs").body)
