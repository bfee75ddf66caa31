"""A cell that fails costs the run that cell: the others run, and what became of it is said at the end."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.config.components import Component
from splitfed.config.scenario import Cell, Scenario
from splitfed.errors import DataError, LinkLost, PluginError, UnfinishedError, UserError
from splitfed.experiment import run as experiment
from splitfed.experiment.cell import measure
from splitfed.experiment.context import RunContext
from splitfed.experiment.stage import Stage
from splitfed.federation.client import StreamReport
from splitfed.federation.task import Task
from splitfed.records import events
from splitfed.records.events import Event
from splitfed.records.results import CellResult
from splitfed.records.store import RunStore
from splitfed.runners.unfinished import Cause, CellFailure, Outcome, attempt, check_all_finished
from tests.views.fabricated import cell_result, changed

ScenarioOf = Callable[..., Scenario]

BEYOND_FLOAT32 = {"name": "laplace", "scale": 1e39, "label": "endless"}
"""Noise that is infinite: every client of such a cell fails, whatever it tries."""


def small(folder: Path, setting: str) -> str:
    """A file with a scenario of one undefended cell, with this setting of the federation."""
    file = folder / "small.toml"
    file.write_text(
        'name = "small"\ndata = { name = "digits", train = 480, aux = 600, test = 240 }\nmodel = { width = 48 }\n'
        f"federation = {{ rounds = 2, batch_size = 32, {setting} }}\n"
        '[[defense]]\nname = "none"\n[[attack]]\nname = "ridge"\n'
    )
    return str(file)


def failing(error: Exception) -> Callable[[], CellResult]:
    def work() -> CellResult:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        (DataError("no such image"), Cause.USER, "no such image"),
        (LinkLost("no answer"), Cause.HINDERED, "no answer"),
        (PluginError("plug-in x: protect raised"), Cause.USER, "plug-in x: protect raised"),
        (MemoryError(), Cause.HINDERED, "MemoryError: run fewer cells at a time"),
        (
            OSError(28, "No space left on device", "grid.png"),
            Cause.USER,
            "grid.png: No space left on device; free space",
        ),
        (KeyError("weights"), Cause.BUG, "KeyError: 'weights'"),
    ],
)
def test_what_an_error_says_of_its_cell(error: Exception, cause: Cause, reason: str) -> None:
    outcome = attempt(failing(error))
    assert isinstance(outcome, CellFailure)
    assert outcome.cause is cause
    assert outcome.reason.startswith(reason)
    assert ("Traceback" in outcome.trace) == (cause is Cause.BUG)


def test_a_tensor_that_no_memory_holds_is_no_bug() -> None:
    def too_large() -> CellResult:
        torch.empty(2**62, dtype=torch.uint8)
        return cell_result()

    outcome = attempt(too_large)
    assert isinstance(outcome, CellFailure)
    assert outcome.cause is Cause.HINDERED
    assert "a smaller network" in outcome.reason


def test_a_bug_weighs_more_than_what_the_user_can_mend_and_that_more_than_what_may_pass(tmp_path: Path) -> None:
    hindered, user = CellFailure("killed"), CellFailure("no image", Cause.USER)
    check_all_finished({}, 3, tmp_path)
    with pytest.raises(UnfinishedError, match=r"1 of 3 cells unfinished: a \(killed\)\..*scenario --resume"):
        check_all_finished({"a": hindered}, 3, tmp_path)
    with pytest.raises(UserError, match=r"2 of 3 cells unfinished: a \(killed\); b \(no image\)"):
        check_all_finished({"a": hindered, "b": user}, 3, tmp_path)
    bug = attempt(failing(KeyError("weights")))
    assert isinstance(bug, CellFailure)
    with pytest.raises(RuntimeError, match=r"3 of 3 cells(?s:.*)in cell c:\nTraceback(?s:.*)KeyError: 'weights'"):
        check_all_finished({"a": hindered, "b": user, "c": bug}, 3, tmp_path)


# Ray leaves handles of its own processes open
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("runner", "jobs"), [("local", 1), ("local", 2), ("ray", 1), ("ray", 2)])
def test_a_cell_that_cannot_be_trained_is_invalid_and_the_next_cells_run(
    runner: str, jobs: int, scenario_of: ScenarioOf, run_dir: Path
) -> None:
    if runner == "ray":
        pytest.importorskip("ray", reason="the extra ray is not installed")
    scenario = scenario_of(defense=[BEYOND_FLOAT32, {"name": "none"}])
    results = experiment.run(scenario, out=run_dir, jobs=jobs, runner=runner).results
    failed, healthy = results.cells
    assert not results.valid
    assert not failed.valid
    assert failed.gates["completed"] is False
    assert "round 1: no client finished: 3 × " in failed.gate_details["completed"]
    assert "keep the mechanism finite" in failed.gate_details["completed"]
    assert failed.accuracy is None
    assert failed.strongest is None
    assert failed.attacks == failed.controls == {}
    assert healthy.valid, healthy.gate_details
    assert healthy.missed_rounds == {}
    assert healthy.gates["completed"]
    assert healthy.gates["clients_took_part"]

    (folder,) = run_dir.iterdir()
    started: list[Event] = []
    again = experiment.run(scenario, resume=folder, subscribers=[started.append]).results
    assert again == results
    assert not [event for event in started if isinstance(event, events.CellStarted)]


def fail_on_ray(cell: Cell, say: Callable[[Event], None]) -> CellResult:  # noqa: ARG001
    if cell.name == "killed":
        os._exit(9)
    if cell.name == "bug":
        raise KeyError("weights")
    return changed(cell_result(), cell=cell.name)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_on_a_ray_cluster_too_a_cell_that_fails_says_why_and_the_others_run() -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from splitfed.runners.ray_cluster import run_cells

    cells = [Cell(name=name, defense=Component(name="none"), seed=0) for name in ("killed", "bug", "sound")]
    outcomes: dict[str, Outcome] = {}

    def close(cell: Cell, outcome: Outcome) -> None:
        outcomes[cell.name] = outcome

    run_cells(cells, fail_on_ray, jobs=1, on_event=lambda _: None, on_outcome=close)
    assert outcomes["sound"] == changed(cell_result(), cell="sound")
    killed, bug = outcomes["killed"], outcomes["bug"]
    assert isinstance(killed, CellFailure)
    assert isinstance(bug, CellFailure)
    assert killed.cause is Cause.HINDERED
    assert killed.reason.startswith("Ray lost it")
    assert bug.cause is Cause.BUG


def test_the_command_ends_with_3_and_a_table_where_a_training_diverges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["scenario", small(tmp_path, "learning_rate = 1e30"), "--out", str(tmp_path / "runs"), "--live", "none"]
    assert main(command) == exit_codes.INVALID
    written = capsys.readouterr()
    assert "lower the learning rate" in " ".join(written.out.split())
    assert "Traceback" not in written.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "report.html").is_file()
    assert main(["scenario", "--resume", str(folder), "--live", "none"]) == exit_codes.INVALID


def test_a_killed_process_leaves_its_cell_unfinished_and_the_run_goes_on_where_it_was(
    scenario_of: ScenarioOf, run_dir: Path
) -> None:
    scenario = scenario_of(federation={"rounds": 3}, defense=[{"name": "laplace"}, {"name": "none"}])
    heard: list[Event] = []

    def kill(event: Event) -> None:
        heard.append(event)
        if isinstance(event, events.RoundFinished) and (event.cell, event.round) == ("laplace", 1):
            (process,) = [child for child in multiprocessing.active_children() if child.name == "cell laplace"]
            process.kill()

    with pytest.raises(UnfinishedError, match=r"1 of 2 cells unfinished: laplace .*exit code -9.*--jobs.*--resume"):
        experiment.run(scenario, out=run_dir, jobs=2, subscribers=[kill])
    assert [event.cell for event in heard if isinstance(event, events.CellUnfinished)] == ["laplace"]
    (folder,) = run_dir.iterdir()
    assert RunStore.open(folder).finished_cells() == ["none"]
    results = experiment.run(scenario, resume=folder).results
    assert [cell.cell for cell in results.cells] == ["laplace", "none"]
    assert results.valid, [cell.gate_details for cell in results.cells]


def test_a_deadline_leaves_a_cell_unfinished_and_the_command_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["scenario", small(tmp_path, "round_deadline_s = 1e-6"), "--out", str(tmp_path / "runs")]
    assert main([*command, "--live", "none"]) == exit_codes.BUG
    (folder,) = (tmp_path / "runs").iterdir()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("splitfed: 1 of 1 cells unfinished: none (round 1: no client finished: 3 × no answer within")
    assert line.endswith(f"go on with: splitfed scenario --resume {folder}")


def test_a_bug_in_one_cell_is_raised_with_its_traceback_after_the_others_have_run(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def stumble(run: RunContext, cell: Cell, stage: Stage) -> CellResult:
        if cell.name == "laplace":
            raise KeyError("weights")
        return measure(run, cell, stage)

    monkeypatch.setattr("splitfed.experiment.run.measure", stumble)
    scenario = scenario_of(federation={"rounds": 1}, defense=[{"name": "laplace"}, {"name": "none"}])
    with pytest.raises(RuntimeError, match=r"in cell laplace:\nTraceback(?s:.*)in stumble(?s:.*)KeyError: 'weights'"):
        experiment.run(scenario, out=run_dir)
    (folder,) = run_dir.iterdir()
    assert RunStore.open(folder).finished_cells() == ["none"]


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_client_that_misses_a_round_is_on_record_and_makes_the_cell_invalid_unless_allowed(
    allowed: int, scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Task.train

    def die_in_round_2(task: Task, round_number: int, addresses: Any) -> StreamReport:
        if (task.client.number, round_number) == (1, 2):
            raise ConnectionResetError("its cable was pulled")
        return honest(task, round_number, addresses)

    monkeypatch.setattr(Task, "train", die_in_round_2)
    scenario = scenario_of(federation={"missed_rounds_allowed": allowed})
    (cell,) = experiment.run(scenario, out=run_dir).results.cells
    assert cell.missed_rounds == {"1": (2,)}
    assert cell.gates["clients_took_part"] is cell.valid is bool(allowed)
    said = cell.gate_details["clients_took_part"]
    assert said.startswith(f"client 1 missed round 2: 1 missed, {allowed} allowed; first reason: ConnectionResetError")


def test_shares_too_small_to_train_on_leave_no_run_behind(scenario_of: ScenarioOf, run_dir: Path) -> None:
    scenario = scenario_of(
        data={"partition": "dirichlet", "alpha": 1e-3}, federation={"clients": 12, "batch_size": 32}, seeds=2
    )
    with pytest.raises(DataError, match="none gave each of 12 clients at least 2 images"):
        experiment.run(scenario, out=run_dir)
    assert not run_dir.exists()
