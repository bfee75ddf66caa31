"""What a finished cell keeps, who may read it, and that its run goes on being whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitfed.config.scenario import Scenario
from splitfed.data import Splits
from splitfed.errors import UserError
from splitfed.experiment import run as experiment
from splitfed.experiment.tidy import identity, tidy
from splitfed.federation.checkpoint import Checkpoint
from splitfed.records.auxiliary import AuxiliaryIdentity
from splitfed.records.events import RoundFinished
from splitfed.records.record import load
from splitfed.records.results import Results
from splitfed.records.store import RunStore
from splitfed.types import Phase
from splitfed.views.report.report import write_report
from splitfed.wire.observations import read_observations

ScenarioOf = Callable[..., Scenario]

LONG = "é" * 50
"""Each letter takes six bytes in the name of a file."""
ATTACKS = [{"name": "ridge"}, {"name": "decoder", "max_epochs": 5}]


@pytest.fixture(scope="module", autouse=True)
def _open_umask() -> Iterator[None]:
    """The umask that most systems set."""
    before = os.umask(0o022)
    yield
    os.umask(before)


Finished = tuple[Scenario, Results, RunStore]
NOBODYS = AuxiliaryIdentity(images=0, identity="")


@pytest.fixture(scope="module")
def finished(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose cells have processes of their own."""
    scenario = scenario_of(
        federation={"rounds": 3}, attack=ATTACKS, defense=[{"name": "none"}, {"name": "laplace", "label": LONG}]
    )
    out = tmp_path_factory.mktemp("runs")
    results = experiment.run(scenario, out=out, jobs=2).results
    (run,) = out.iterdir()
    return scenario, results, RunStore.open(run)


def test_all_that_a_run_leaves_is_its_owners_alone(finished: Finished) -> None:
    _, _, store = finished
    for path in [store.path, *store.path.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert os.umask(0o022) == 0o022  # and the process has its own again


def test_a_finished_cell_keeps_what_a_resume_or_another_attack_needs(finished: Finished, digits: Splits) -> None:
    scenario, results, store = finished
    for cell in results.cells:
        folder = store.cell_dir(cell.cell)
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
            "knowledge/auxiliary.json",
            "knowledge/final.json",
            "observations/audit.000004.obs",
            "attack/attacker.json",
            "attack/attacker.log",
            f"attack/{cell.strongest}.npz",
        }
        seen = sum(len(o.activation) for o in read_observations(folder / "observations", phase=Phase.AUDIT))
        assert seen == scenario.data.train
        checkpoint = Checkpoint.load(store.checkpoints_dir / f"{folder.name}.pt")
        assert checkpoint is not None
        assert checkpoint.round == scenario.federation.rounds
        assert load(folder / "knowledge" / "auxiliary.json", AuxiliaryIdentity) == identity(digits.aux)


def test_a_finished_run_is_shown_anew_from_what_it_keeps(finished: Finished) -> None:
    scenario, results, store = finished
    pictures = {path.name: path.read_bytes() for path in store.pictures}
    (store.images_dir / "comparison.png").unlink()
    assert experiment.run(scenario, resume=store.path).results == results
    assert {path.name: path.read_bytes() for path in store.pictures} == pictures


def left_by_training(folder: Path) -> set[str]:
    """A cell's folder as an attack leaves it; the names of the files in it."""
    names = {
        "knowledge/fronts/0001.pt",
        "observations/train.000001.obs",
        "observations/test.000001.obs",
        "observations/audit.000002.obs",
        "attack/live-ridge.npz",
        "attack/ridge.npz",
        "attack/decoder.npz",
    }
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return names


def kept(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_who_keeps_all_rounds_keeps_them_for_good(tmp_path: Path) -> None:
    names = left_by_training(tmp_path)
    tidy(tmp_path, NOBODYS, strongest="ridge", keep_training=True)
    assert kept(tmp_path) == names - {"attack/live-ridge.npz", "attack/decoder.npz"}
    tidy(tmp_path, NOBODYS, strongest="ridge", keep_training=False)
    assert kept(tmp_path) == {"observations/audit.000002.obs", "attack/ridge.npz"}


def test_a_cell_without_an_attack_keeps_no_reconstructions(tmp_path: Path) -> None:
    left_by_training(tmp_path)
    tidy(tmp_path, NOBODYS, strongest=None, keep_training=False)
    assert kept(tmp_path) == {"observations/audit.000002.obs"}


def test_what_was_left_when_a_finished_cell_was_killed_goes_with_the_next_resume(finished: Finished) -> None:
    scenario, _, store = finished
    folder = store.cell_dir("none")
    before = kept(folder)
    (folder / "attack" / "live-ridge.npz").touch()
    (folder / "observations" / "test.000003.obs").touch()
    experiment.run(scenario, resume=store.path)
    assert kept(folder) == before


def test_a_cell_whose_reconstructions_are_gone_is_left_out_of_the_pictures(finished: Finished) -> None:
    scenario, results, store = finished
    (store.cell_dir("none") / "attack" / f"{results.cells[0].strongest}.npz").write_bytes(b"")
    heard: list[Any] = []
    assert experiment.run(scenario, resume=store.path, subscribers=[heard.append]).results == results
    assert any("none is left out of the pictures" in getattr(event, "message", "") for event in heard)


def test_a_run_that_another_process_runs_is_not_resumed(finished: Finished) -> None:
    scenario, results, store = finished
    with store.running():
        before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
        with pytest.raises(UserError, match="is in use by process"):
            experiment.run(scenario, resume=store.path)
        assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == before
        write_report(store)  # who only reads needs no lock
    assert "on disk" in store.report_path.read_text(encoding="utf-8")
    assert store.report_path.stat().st_mode & 0o777 == 0o600
    assert experiment.run(scenario, resume=store.path).results == results


def test_a_cell_that_is_resumed_after_its_results_were_lost_trains_no_round_again(finished: Finished) -> None:
    scenario, results, store = finished
    (store.path / "results.json").unlink()
    heard: list[Any] = []
    again = experiment.run(scenario, resume=store.path, subscribers=[heard.append]).results
    assert [cell.accuracy for cell in again.cells] == [cell.accuracy for cell in results.cells]
    assert not [event for event in heard if isinstance(event, RoundFinished)]
