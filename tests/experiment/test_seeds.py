"""Several seeds: each splits the images anew, has baselines and a reference of its own, and only the first is on the
wall; a scenario may ask for one split in all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from splitfed.config.scenario import Scenario
from splitfed.errors import UserError
from splitfed.experiment import run as experiment
from splitfed.experiment.context import RunContext
from splitfed.experiment.images import load_images
from splitfed.records.bus import Bus
from splitfed.records.store import RunStore
from splitfed.records.wall import WallFolder
from splitfed.types import Images

ScenarioOf = Callable[..., Scenario]


@pytest.fixture(scope="module")
def finished(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    scenario = scenario_of(seeds=2, federation={"rounds": 1}, defense=[{"name": "none"}, {"name": "laplace"}])
    return experiment.run(scenario, out=tmp_path_factory.mktemp("runs"))


def context_of(scenario: Scenario, store: RunStore) -> RunContext:
    dataset, splits = load_images(scenario, None, Bus())
    return RunContext(scenario, store, Bus(), dataset, splits)


def hashes(images: Images) -> set[bytes]:
    return set(images.content_hashes())


def test_each_seed_has_images_and_baselines_of_its_own(finished: RunStore, scenario_of: ScenarioOf) -> None:
    results = finished.results
    first, second = results.baselines_by_seed["0"], results.baselines_by_seed["1"]
    assert first != second
    for name, mean in results.baselines.items():
        ends = (first[name].psnr_db, second[name].psnr_db)
        assert None not in ends
        assert mean.psnr_db == pytest.approx(sum(end or 0.0 for end in ends) / 2)
    context = context_of(scenario_of(seeds=2), finished)
    own, other = context.splits_of(0), context.splits_of(1)
    assert own is context.splits
    assert hashes(own.train) != hashes(other.train)
    assert not hashes(other.train) & hashes(other.aux)
    assert hashes(other.aux) & hashes(own.train)  # what is the attacker's under one seed is a victim's under another
    assert context.splits_of(1) is other


def test_each_seed_is_judged_by_its_own_undefended_cell_and_class_mean(finished: RunStore) -> None:
    results = finished.results
    assert results.valid, [cell.gate_details for cell in results.cells]
    for cell in results.cells:
        level = results.baselines_by_seed[str(cell.seed)]["class_mean"].psnr_db
        assert level is not None
        assert f"class mean {level:.2f} dB" in cell.gate_details["attack_beats_class_mean"]
        assert (cell.against_none == {}) == (cell.defense == "none")


def test_the_wall_has_the_victims_of_the_first_seed_and_what_became_of_them(finished: RunStore) -> None:
    wall = WallFolder(finished.path)
    victims = wall.victims()
    assert victims is not None
    assert set(victims.client) == {"0"}
    assert {attack.cell for attack in wall.attacks()} == {"none-seed0", "laplace-seed0"}


def test_one_split_in_all_seeds_where_that_is_asked_for(scenario_of: ScenarioOf, finished: RunStore) -> None:
    context = context_of(scenario_of(seeds=2, data={"resplit": False}), finished)
    assert context.splits_of(1) is context.splits
    assert context.baselines_by_seed[0] is context.baselines_by_seed[1]


def test_a_deployment_is_dealt_its_images_once(scenario_of: ScenarioOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.resplit=false"):
        experiment.run(scenario_of(seeds=2), out=tmp_path, runner="deploy")
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_images_whichever_is_first(scenario_of: ScenarioOf, finished: RunStore) -> None:
    second = context_of(scenario_of(seeds=2), finished).splits_of(1)
    alone = context_of(scenario_of(seed=1), finished).splits
    assert torch.equal(second.train.pixels, alone.train.pixels)
    assert torch.equal(second.aux.pixels, alone.aux.pixels)
