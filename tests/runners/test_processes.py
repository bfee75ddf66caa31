"""Cells in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from splitfed.config.components import Component
from splitfed.config.scenario import Cell
from splitfed.errors import UserError
from splitfed.records.events import Event, Notice
from splitfed.records.results import CellResult
from splitfed.runners.processes import Say, run_cells
from splitfed.runners.unfinished import Cause, CellFailure, Outcome
from tests.small_scenario import small
from tests.views.fabricated import cell_result, changed

CELLS = [Cell(name=name, defense=Component(name="none"), seed=seed) for seed, name in enumerate("abcd")]


def result_of(cell: Cell, said: str = "") -> CellResult:
    """A result, with what a test wants to know of the process that it comes from."""
    return changed(cell_result(), cell=cell.name, gate_details={"said": said})


def report(cell: Cell, say: Say) -> CellResult:
    say(Notice(message=f"{cell.name} began"))
    return result_of(cell, str(os.getpid()))


def fail(cell: Cell, say: Say) -> CellResult:  # noqa: ARG001
    if cell.name == "b":
        raise UserError("no such image")
    return result_of(cell)


def vanish(cell: Cell, say: Say) -> CellResult:  # noqa: ARG001
    os._exit(9)


def outlast(cell: Cell, say: Say) -> CellResult:
    if cell.name == "a":
        return result_of(cell)
    say(Notice(message="still here"))
    time.sleep(60)
    return result_of(cell)


def stumble(cell: Cell, say: Say) -> CellResult:  # noqa: ARG001
    if cell.name == "a":
        raise KeyError("weights")
    return result_of(cell)


def run(work: Any, jobs: int) -> tuple[list[Event], dict[str, Outcome]]:
    said: list[Event] = []
    outcomes: dict[str, Outcome] = {}

    def close(cell: Cell, outcome: Outcome) -> None:
        outcomes[cell.name] = outcome

    run_cells(CELLS, work, jobs=jobs, on_event=said.append, on_outcome=close)
    return said, outcomes


def failure(outcome: Outcome) -> CellFailure:
    assert isinstance(outcome, CellFailure)
    return outcome


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_cell_has_a_process_and_every_event_and_entry_arrives(jobs: int) -> None:
    said, outcomes = run(report, jobs)
    assert sorted(outcomes) == list("abcd")
    processes = {int(outcome.gate_details["said"]) for outcome in outcomes.values() if isinstance(outcome, CellResult)}
    assert len(processes - {os.getpid()}) == 4
    assert sorted(event.message for event in said if isinstance(event, Notice)) == [f"{n} began" for n in "abcd"]


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_cell_that_fails_says_why_and_the_others_run(jobs: int) -> None:
    _, outcomes = run(fail, jobs)
    assert failure(outcomes["b"]) == CellFailure("no such image", Cause.USER)
    assert [outcomes[cell.name] for cell in CELLS if cell.name != "b"] == [result_of(c) for c in CELLS if c.name != "b"]


def test_a_process_that_was_killed_is_no_silent_end() -> None:
    _, outcomes = run(vanish, 2)
    assert all(failure(outcome).cause is Cause.HINDERED for outcome in outcomes.values())
    assert "its process ended with exit code 9" in failure(outcomes["a"]).reason
    assert "--jobs" in failure(outcomes["a"]).reason


def test_a_bug_comes_back_with_its_traceback() -> None:
    _, outcomes = run(stumble, 1)
    assert failure(outcomes["a"]).cause is Cause.BUG
    assert "in stumble" in failure(outcomes["a"]).trace
    assert outcomes["d"] == result_of(CELLS[3])


def test_the_others_are_stopped_when_an_outcome_cannot_be_taken() -> None:
    def refuse(cell: Cell, outcome: Outcome) -> None:  # noqa: ARG001
        raise OSError("no space left")

    began = time.monotonic()
    with pytest.raises(OSError, match="no space left"):
        run_cells(CELLS, outlast, jobs=2, on_event=lambda _: None, on_outcome=refuse)
    assert time.monotonic() - began < 50


SCRIPT = """
import splitfed
scenario = splitfed.load({scenario!r})
{guard}results = splitfed.run(scenario, jobs=2, out="runs")
"""


@pytest.mark.parametrize("guard", ["", 'if __name__ == "__main__": '], ids=["unguarded", "guarded"])
def test_a_script_is_told_that_it_needs_a_main_guard(tmp_path: Path, guard: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(scenario=small(tmp_path, rounds=1), guard=guard), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert len(list((tmp_path / "runs").iterdir())) == 1  # the new processes made none of their own
    if guard:
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert 'guard:\n\n    if __name__ == "__main__":\n        scenario = splitfed.load(' in done.stderr
    assert "memory" not in done.stderr
