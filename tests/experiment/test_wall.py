"""The wall as a run leaves it: pictures, scores and neighbors are of the right victim, bounded, and cost no run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from splitfed import data
from splitfed.config.scenario import Cell, Scenario
from splitfed.experiment import run as experiment
from splitfed.experiment import wall as wall_of
from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.wall import CellWall, save_victims
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.records import events
from splitfed.records.bus import Bus
from splitfed.records.events import Event
from splitfed.records.sheets import load_tiles
from splitfed.records.store import RunStore
from splitfed.records.wall import MOST_MOMENTS, SHOWN_VICTIMS, WallAttack, WallFolder
from splitfed.types import Phase, Reconstruction
from splitfed.wire.observations import read_observations
from tests.views.fabricated import manifest

ScenarioOf = Callable[..., Scenario]
AUDIT = 3
"""Of a run with two rounds."""


@pytest.fixture(scope="module")
def finished(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A run with two seeds, whose clients hold other images each: its directory and its events."""
    heard: list[Event] = []
    scenario = scenario_of(seeds=2, data={"resplit": False})
    store = experiment.run(scenario, out=tmp_path_factory.mktemp("runs"), subscribers=[heard.append])
    return store.path, heard


Finished = tuple[Path, list[Event]]


def originals(run: Path) -> torch.Tensor:
    victims = WallFolder(run).victims()
    assert victims is not None
    tiles = load_tiles(run / "wall" / victims.sheets[0], victims.count, victims.height, victims.width)
    return torch.from_numpy(tiles).float() / 255


def test_the_originals_hang_in_the_order_of_their_numbers(finished: Finished, digits: data.Splits) -> None:
    run, _ = finished
    victims = WallFolder(run).victims()
    assert victims is not None
    assert victims.count == victims.of == len(digits.train)
    assert victims.label == tuple(digits.train.labels.tolist())
    assert torch.allclose(originals(run), digits.train.pixels, atol=0.51 / 255)
    assert set(victims.client) == {"0", "1"}
    assert victims.client["0"] != victims.client["1"]
    assert all(set(clients) == {0, 1, 2} for clients in victims.client.values())


ENDED = ("ridge", "untrained", "retrieval", "ridge@TRAIN2")
"""The last one is of training, where nobody looks on: it has an end and no moments."""


def test_what_an_attack_came_to_is_scored_against_the_right_victim(finished: Finished) -> None:
    run, _ = finished
    wall, truth = WallFolder(run), originals(run)
    names = {(attack.cell, attack.attack) for attack in wall.attacks()}
    assert names == {(cell, attack) for cell in ("none-seed0", "none-seed1") for attack in ENDED}
    for attack in wall.attacks():
        final = attack.final
        assert final is not None
        assert final.victims == tuple(range(len(truth)))
        tiles = load_tiles(wall.cell(attack.cell) / final.sheets[0], len(truth), 8, 8)
        made = torch.from_numpy(tiles).float() / 255
        assert np.allclose(np.array(final.psnr_db, float), fast_psnr_db(made, truth), atol=0.3)
        assert np.allclose(np.array(final.ssim, float), fast_ssim(made, truth), atol=0.02)
        distances = torch.cdist(made.flatten(1).double(), truth.flatten(1).double())
        own = distances.diagonal()[:, None]
        ranks = 1 + (distances < own).sum(dim=1)
        assert np.mean(np.abs(np.array(final.reid_rank) - ranks.numpy()) <= 2) > 0.95  # tiles have 8 bits
        nearest = [near[0] for near in final.nearest]
        assert np.mean(np.array(nearest) == distances.argmin(dim=1).numpy()) > 0.95
        assert attack.is_control == (not attack.attack.startswith("ridge"))


def test_re_identification_agrees_with_the_results(finished: Finished) -> None:
    run, _ = finished
    for cell in RunStore.open(run).results.cells:
        attack = WallFolder(run).attack(cell.cell, "ridge")
        assert attack is not None
        assert attack.final is not None
        hits = np.mean(np.array(attack.final.reid_rank) == 1)
        assert hits == pytest.approx(cell.attacks["ridge"].reid_top1, abs=0.005)
        assert np.mean(np.array(attack.final.psnr_db, float)) == pytest.approx(cell.attacks["ridge"].psnr_db, abs=0.01)


def test_every_moment_shows_the_same_victims(finished: Finished) -> None:
    run, heard = finished
    moments = [event for event in heard if isinstance(event, events.WallMoment)]
    assert {event.attack for event in moments} == {"ridge", "untrained", "retrieval"}
    for event in moments:
        assert event.victims == tuple(range(SHOWN_VICTIMS))
        assert (WallFolder(run).cell(event.cell) / event.sheet).is_file()
        attack = WallFolder(run).attack(event.cell, event.attack)
        assert attack is not None
        assert attack.final is not None
        assert event.number in [moment.number for moment in attack.moments]
        assert len(event.reid_rank) == len(event.victims)
        if event.number == attack.moments[-1].number and event.psnr_db == attack.final.psnr_db[:SHOWN_VICTIMS]:
            assert event.reid_rank == attack.final.reid_rank[:SHOWN_VICTIMS]
    ends = [(event.cell, event.attack) for event in heard if isinstance(event, events.WallFinished)]
    assert len(ends) == len(set(ends)) == 2 * len(ENDED)


def test_the_activations_are_what_crossed_the_wire(finished: Finished) -> None:
    run, _ = finished
    store = RunStore.open(run)
    found = WallFolder(run).activations("none-seed0")
    assert found is not None
    assert found.victims.tolist() == list(range(SHOWN_VICTIMS))
    seen = torch.cat(
        [o.activation for o in read_observations(store.cell_dir("none-seed0") / "observations", phase=Phase.AUDIT)]
    )
    assert found.values.shape == (SHOWN_VICTIMS, 48)
    for value in found.values:
        assert (seen == torch.from_numpy(value)).all(dim=1).any()


class Hung:
    """A wall of one cell, of which the test is the attack."""

    def __init__(self, scenario: Scenario, digits: data.Splits, folder: Path) -> None:
        self.heard: list[Event] = []
        self.store = RunStore.create(folder, "small", manifest())
        self.run = RunContext(scenario, self.store, Bus(self.heard.append), data.load("digits"), digits)
        self.cell: Cell = scenario.cells()[0]
        self.context = CellContext.of(self.run, self.cell)
        self.wall = CellWall(self.context)
        self.folder = WallFolder(self.store.path)

    def kept(self) -> WallAttack:
        """The record of its attack."""
        attack = self.folder.attack("none", "ridge")
        assert attack is not None
        return attack

    def made(self, index: list[tuple[int, int, int, int]]) -> Reconstruction:
        """Reconstructions that are perfect."""
        rows = np.array(index, np.int64)
        return Reconstruction(rows, self.context.truth.originals(rows).pixels)

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.heard if isinstance(event, events.Notice)]


@pytest.fixture
def hung(scenario_of: ScenarioOf, digits: data.Splits, tmp_path: Path) -> Hung:
    return Hung(scenario_of(), digits, tmp_path)


@pytest.mark.parametrize("round_number", [1, 2, AUDIT])
def test_the_places_that_are_shown_are_those_of_the_first_victims(hung: Hung, round_number: int) -> None:
    places = [place for place in hung.context.truth.places(hung.context.shown) if place[0] == round_number]
    hung.wall.moment("ridge", round_number, 1, hung.made(places))
    (moment,) = hung.kept().moments
    assert moment.victims == tuple(range(SHOWN_VICTIMS))
    assert moment.psnr_db == (100.0,) * SHOWN_VICTIMS
    tiles = load_tiles(hung.folder.cell("none") / moment.sheet, SHOWN_VICTIMS, 8, 8)
    assert np.allclose(tiles / 255, hung.run.splits.train.pixels[:SHOWN_VICTIMS], atol=0.51 / 255)


def test_moments_are_thinned_evenly_and_never_too_many(hung: Hung) -> None:
    made = hung.made([(AUDIT, 0, 0, row) for row in range(4)])
    shows = 4 * MOST_MOMENTS
    for number in range(shows):
        hung.wall.moment("ridge", 1, number, made)
        moments = hung.kept().moments
        assert len(moments) <= MOST_MOMENTS
        sheets = {path.name for path in hung.folder.cell("none").glob("*.png")}
        assert sheets == {moment.sheet for moment in moments}
    attack = hung.kept()
    assert [moment.number for moment in attack.moments] == list(range(0, shows, attack.stride))
    assert attack.stride == 4


def test_so_many_finals_are_kept_and_the_record_says_so(hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall_of, "MOST_VICTIMS", 100)
    save_victims(hung.run)
    victims = hung.folder.victims()
    assert victims is not None
    assert (victims.count, victims.of, len(victims.label)) == (100, 480, 100)
    rows = [(AUDIT, client, step, row) for client in range(3) for step in range(5) for row in range(32)]
    hung.wall.final("ridge", False, hung.made(rows))
    final = hung.kept().final
    assert final is not None
    assert final.victims == tuple(range(100))
    assert final.of == 480
    assert set(final.reid_rank) == {1}


def test_a_disk_that_cannot_be_written_costs_pictures_and_is_said_once(hung: Hung) -> None:
    (hung.store.path / "wall").write_text("in the way")
    save_victims(hung.run)
    made = hung.made([(AUDIT, 0, 0, row) for row in range(4)])
    for number in range(3):
        hung.wall.moment("ridge", 1, number, made)
    hung.wall.final("ridge", False, made)
    of_run, of_cell = hung.notices
    assert of_run.startswith("the wall of images is left out: cannot make the folder")
    assert of_cell.startswith("none: pictures are missing on the wall of images: cannot make the folder")


def test_an_interrupted_attempt_leaves_nothing_on_the_wall(hung: Hung) -> None:
    hung.wall.moment("ridge", 1, 1, hung.made([(AUDIT, 0, 0, 0)]))
    assert list(hung.folder.attacks())
    CellWall(CellContext.of(hung.run, hung.cell))
    assert not list(hung.folder.attacks())


def test_scores_of_single_images_are_those_of_the_live_view() -> None:
    """Flat images too, whose variance is a difference of nearly equal numbers."""
    made = torch.rand(150, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    made[:50] = 0.7
    truth = (made + 0.1 * torch.rand(made.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    truth[:25] = 0.71
    scores = wall_of._scores(made, truth)
    assert np.allclose(scores["psnr_db"], fast_psnr_db(made, truth), atol=0.01)
    assert np.allclose(scores["ssim"], fast_ssim(made, truth), atol=0.001)
