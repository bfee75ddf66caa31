"""A whole run on real parts: federation, relay, attacker's process, scores, gates, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from splitfed import data
from splitfed.config.scenario import Scenario
from splitfed.data import Splits
from splitfed.errors import UserError
from splitfed.experiment import run as experiment
from splitfed.records import events
from splitfed.records.events import Event
from splitfed.records.grids import read_caption
from splitfed.records.results import Results
from splitfed.records.schema import PUBLISHED
from splitfed.records.store import RunStore

ScenarioOf = Callable[..., Scenario]


class Heard(list[Event]):
    """All events of a run."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


Finished = tuple[Results, Heard, Path]


@pytest.fixture(scope="module")
def finished(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run with two defenses: results, events, run directory."""
    scenario = scenario_of(
        defense=[{"name": "none"}, {"name": "laplace"}],
        attack=[{"name": "ridge"}, {"name": "decoder", "max_epochs": 5}],
    )
    heard = Heard()
    results = experiment.run(scenario, out=tmp_path_factory.mktemp("runs"), subscribers=[heard]).results
    (started,) = heard.of(events.RunStarted)
    return results, heard, Path(started.run_dir)


def known(value: float | None) -> float:
    assert value is not None
    return value


def test_results_follow_the_schema_and_are_valid(finished: Finished) -> None:
    results, _, run_dir = finished
    assert RunStore.open(run_dir).results == results
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads((run_dir / "results.json").read_text(encoding="utf-8")))
    assert results.valid, [cell.gate_details for cell in results.cells]
    assert "highest, median and lowest PSNR" in read_caption(run_dir / "images" / "extremes.png")
    assert "laplace, " in read_caption(run_dir / "images" / "extremes.png")
    assert [cell.cell for cell in results.cells] == ["none", "laplace"]
    assert "scikit-learn" in results.dataset.note
    assert results.dataset.caveat == ""


def test_noise_protects_and_the_untrained_control_knows_nothing(finished: Finished) -> None:
    results, _, _ = finished
    none, laplace = results.cells
    blind = known(results.baselines["mean_image"].psnr_db)
    assert known(none.attacks["ridge"].psnr_db) > known(laplace.attacks["ridge"].psnr_db) + 2
    assert known(none.attacks["ridge"].reid_top1) > 0.5
    assert known(none.controls["untrained"].psnr_db) < blind + 0.5


def test_bytes_are_those_of_float32(finished: Finished) -> None:
    results, _, _ = finished
    for cell in results.cells:
        assert cell.activation_bytes_per_image == 48 * 4
        assert 2 * 48 * 4 < known(cell.wire_bytes_per_image) < 2 * 48 * 4 + 20


def test_events_tell_the_whole_run(finished: Finished) -> None:
    results, heard, run_dir = finished
    assert [(e.cell, e.round) for e in heard.of(events.RoundFinished)] == [
        (cell, number) for cell in ("none", "laplace") for number in (1, 2)
    ]
    assert {e.client for e in heard.of(events.ClientProgress)} == {0, 1, 2}
    assert all(e.sent_bytes > 0 for e in heard.of(events.ClientProgress))
    final = [e for e in heard.of(events.AttackProgress) if e.final]
    assert {(e.cell, e.attack) for e in final} >= {(c, a) for c in ("none", "laplace") for a in ("ridge", "decoder")}
    assert all((run_dir / e.strip).is_file() for e in final)
    (done,) = heard.of(events.RunFinished)
    assert done.results == results
    assert [type(e) for e in RunStore.open(run_dir).read_events()] == [type(e) for e in heard]


def test_a_finished_run_is_not_run_again(finished: Finished) -> None:
    results, _, run_dir = finished
    scenario = Scenario.model_validate(RunStore.open(run_dir).manifest.scenario)
    heard = Heard()
    assert experiment.run(scenario, resume=run_dir, subscribers=[heard]).results == results
    assert heard.of(events.CellStarted) == []


def test_a_run_is_not_resumed_with_other_settings(finished: Finished, scenario_of: ScenarioOf) -> None:
    _, _, run_dir = finished
    with pytest.raises(UserError, match="other settings"):
        experiment.run(scenario_of(), resume=run_dir)


def test_an_interrupted_run_goes_on_where_it_was(scenario_of: ScenarioOf, run_dir: Path) -> None:
    scenario = scenario_of(federation={"rounds": 3}, defense=[{"name": "none"}])
    heard = Heard()

    def interrupt(event: Event) -> None:
        if isinstance(event, events.ClientProgress) and event.round == 2 and event.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment.run(scenario, out=run_dir, subscribers=[heard, in_main_thread(interrupt)])
    (folder,) = run_dir.iterdir()
    again = Heard()
    results = experiment.run(scenario, resume=folder, subscribers=[again]).results
    assert [e.round for e in again.of(events.RoundFinished)] == [2, 3]
    assert results.valid, results.cells[0].gate_details


def in_main_thread(subscriber: Callable[[Event], None]) -> Callable[[Event], None]:
    """Raise in the main thread what a subscriber raises in a client's, as Ctrl-C does."""
    import _thread

    def call(event: Event) -> None:
        try:
            subscriber(event)
        except KeyboardInterrupt:
            _thread.interrupt_main()

    return call


def test_overlapping_auxiliary_images_make_a_cell_invalid(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = data.split

    def overlapping(*arguments: Any, **options: Any) -> Splits:
        splits: Splits = honest(*arguments, **options)
        splits.aux.pixels[:5] = splits.train.pixels[:5]
        return splits

    monkeypatch.setattr(data, "split", overlapping)
    results = experiment.run(scenario_of(federation={"rounds": 1}), out=run_dir).results
    (cell,) = results.cells
    assert not cell.gates["aux_disjoint"]
    assert not results.valid
    assert "5 of 600" in cell.gate_details["aux_disjoint"]


def test_without_an_attacker_training_goes_on_and_the_cell_is_invalid(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitfed.experiment.attacker_process.sys.executable", "/nonexistent/python")
    heard = Heard()
    results = experiment.run(scenario_of(federation={"rounds": 3}), out=run_dir, subscribers=[heard]).results
    (cell,) = results.cells
    assert known(cell.accuracy) > known(cell.majority_rate) + 0.1
    assert cell.strongest is None
    assert not cell.gates["attack_learned"]
    assert any("Training goes on" in e.message for e in heard.of(events.Notice))


def test_images_that_cannot_be_had_leave_no_run_behind(scenario_of: ScenarioOf, run_dir: Path, tmp_path: Path) -> None:
    scenario = scenario_of(data={"name": "folder", "path": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="nowhere"):
        experiment.run(scenario, out=run_dir)
    assert not run_dir.exists()


def _elsewhere(runner: str, jobs: int, scenario_of: ScenarioOf, out: Path, seen: Finished) -> None:
    """The same run in processes of their own comes to the same accuracies and tells the same story."""
    results, heard, _ = seen
    scenario = scenario_of(
        defense=[{"name": "none"}, {"name": "laplace"}],
        attack=[{"name": "ridge"}, {"name": "decoder", "max_epochs": 5}],
    )
    told = Heard()
    again = experiment.run(scenario, out=out, jobs=jobs, runner=runner, subscribers=[told]).results
    assert [cell.cell for cell in again.cells] == ["none", "laplace"]
    assert again.valid
    for one, other in zip(results.cells, again.cells, strict=True):
        assert one.accuracy == other.accuracy
        assert one.attacks["ridge"].psnr_db == pytest.approx(other.attacks["ridge"].psnr_db, abs=1e-3)
    for kind in (events.CellStarted, events.CellFinished, events.RoundFinished):
        assert len(told.of(kind)) == len(heard.of(kind))


def test_cells_at_a_time_come_to_the_same(finished: Finished, scenario_of: ScenarioOf, tmp_path: Path) -> None:
    _elsewhere("local", 2, scenario_of, tmp_path, finished)


# Ray leaves handles of its own processes open
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_cells_on_a_ray_cluster_come_to_the_same(finished: Finished, scenario_of: ScenarioOf, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    _elsewhere("ray", 2, scenario_of, tmp_path, finished)


def test_less_than_one_cell_at_a_time_is_refused(scenario_of: ScenarioOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1 cell"):
        experiment.run(scenario_of(), out=tmp_path, jobs=0)
    assert not list(tmp_path.iterdir())
