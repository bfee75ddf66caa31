"""Cells in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from splitfed.errors import SplitfedError, UserError
from splitfed.events import Event, Notice
from splitfed.parallel import Say, run_cells
from splitfed.scenario import Cell, Component
from tests.test_cli import small

CELLS = [Cell(name=name, defense=Component(name="none"), seed=seed) for seed, name in enumerate("abcd")]


def report(cell: Cell, say: Say) -> dict[str, Any]:
    say(Notice(message=f"{cell.name} began"))
    return {"cell": cell.name, "process": os.getpid()}


def fail(cell: Cell, say: Say) -> dict[str, Any]:  # noqa: ARG001
    if cell.name == "b":
        raise UserError("no such image")
    return {"cell": cell.name}


def vanish(cell: Cell, say: Say) -> dict[str, Any]:  # noqa: ARG001
    os._exit(9)


def outlast(cell: Cell, say: Say) -> dict[str, Any]:
    if cell.name == "a":
        raise UserError("no")
    say(Notice(message="still here"))
    time.sleep(60)
    return {}


def run(work: Any, jobs: int) -> tuple[list[Event], list[dict[str, Any]]]:
    said: list[Event] = []
    entries: list[dict[str, Any]] = []
    run_cells(CELLS, work, jobs=jobs, on_event=said.append, on_entry=lambda _, entry: entries.append(entry))
    return said, entries


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_cell_has_a_process_and_every_event_and_entry_arrives(jobs: int) -> None:
    said, entries = run(report, jobs)
    assert sorted(entry["cell"] for entry in entries) == list("abcd")
    assert len({entry["process"] for entry in entries} - {os.getpid()}) == 4
    assert sorted(event.message for event in said if isinstance(event, Notice)) == [f"{n} began" for n in "abcd"]


def test_a_cell_that_fails_ends_the_run_and_says_which_it_was() -> None:
    finished: list[str] = []
    with pytest.raises(SplitfedError, match="b: no such image"):
        run_cells(CELLS, fail, jobs=1, on_event=lambda _: None, on_entry=lambda cell, _: finished.append(cell.name))
    assert finished == ["a"]


def test_a_process_that_was_killed_is_no_silent_end() -> None:
    with pytest.raises(SplitfedError, match=r"a: its process ended with exit code 9.*--resume"):
        run(vanish, 1)


def test_the_others_are_stopped_when_one_fails() -> None:
    began = time.monotonic()
    with pytest.raises(SplitfedError, match="a: no"):
        run(outlast, 2)
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
