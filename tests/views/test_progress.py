"""The time left and the state are what the events say, not more."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.records import events
from splitfed.views.progress import RunState, TimeLeft
from splitfed.views.text import cell_position, time_left
from tests.views.fabricated import CELLS, ROUNDS, START_S, cell_result, run_events


def started(cells: tuple[str, ...] = ("a", "b", "c"), finished: tuple[str, ...] = ()) -> events.RunStarted:
    return events.RunStarted(
        time_s=0.0, scenario="s", run_dir=".", threat="split", dataset="d", synthetic=False, cells=cells,
        finished=finished,
    )  # fmt: skip


def cell_started(cell: str, at_s: float) -> events.CellStarted:
    return events.CellStarted(time_s=at_s, cell=cell, defense="none", seed=0, rounds=4, clients=2)


def step(client: int, at_s: float, *, round: int = 1, step: int = 1) -> events.ClientProgress:
    return events.ClientProgress(
        time_s=at_s, cell="a", round=round, client=client, step=step, steps=10, loss=1.0, images_per_s=1.0,
        sent_bytes=1,
    )  # fmt: skip


def round_done(number: int, at_s: float) -> events.RoundFinished:
    return events.RoundFinished(time_s=at_s, cell="a", round=number, rounds=4, loss=1.0, accuracy=0.5)


def progress_of(*listed: events.Event) -> RunState:
    run = RunState()
    for event in listed:
        run.apply(event)
    return run


def test_nothing_is_promised_before_training_has_a_pace() -> None:
    run = progress_of(started(), cell_started("a", 0.0))
    assert run.time_left(5.0) is None
    assert time_left(run, 5.0) == "time left: estimating"


def test_in_the_first_cell_the_time_left_is_a_lower_bound() -> None:
    run = progress_of(started(), cell_started("a", 0.0), step(0, 20.0), round_done(1, 30.0))
    # 10 s a round: 3 rounds here and 4 in each of two more cells; the attacks come on top
    assert run.time_left(30.0) == TimeLeft(110.0, at_least=True)
    assert time_left(run, 30.0) == "at least 1:50 min left"


def test_after_the_first_cells_training_its_attacks_leave_no_estimate() -> None:
    run = progress_of(started(), cell_started("a", 0.0), step(0, 20.0), round_done(4, 60.0))
    assert run.time_left(60.0) is None


def test_finished_cells_set_the_pace() -> None:
    done = events.CellFinished(time_s=60.0, cell="a", result=cell_result())
    run = progress_of(started(), cell_started("a", 0.0), done, cell_started("b", 60.0))
    assert run.time_left(80.0) == TimeLeft(100.0, at_least=False)
    assert run.time_left(300.0) == TimeLeft(60.0, at_least=False)  # this cell is late; one more is to come


def test_a_resumed_run_counts_the_cells_of_before() -> None:
    run = progress_of(started(finished=("a",)), cell_started("b", 0.0))
    assert run.done == ("a",)
    assert run.running == ["b"]


def test_the_slowest_living_client_sets_the_fraction_of_the_round() -> None:
    run = progress_of(started(), cell_started("a", 0.0), step(0, 1.0, step=8), step(1, 1.0, step=4))
    assert run.current is not None
    assert run.current.rounds_done == 0.4
    run.apply(events.ClientLost(time_s=2.0, cell="a", round=1, client=1, reason="link lost"))
    assert run.current.rounds_done == 0.8


def test_a_client_that_rejoins_is_no_longer_lost() -> None:
    lost = events.ClientLost(time_s=2.0, cell="a", round=1, client=0, reason="link lost")
    run = progress_of(started(), cell_started("a", 0.0), lost)
    assert run.cells["a"].clients[0].lost == "link lost"
    run.apply(step(0, 3.0, round=2))
    assert run.cells["a"].clients[0].lost is None


def test_events_of_an_unknown_cell_are_passed_over() -> None:
    assert progress_of(step(0, 1.0), round_done(1, 2.0)).cells == {}


def test_a_whole_run_adds_up(tmp_path: Path) -> None:
    run = progress_of(*run_events(tmp_path))
    assert run.done == CELLS
    assert run.current is None
    assert [len(cell.rounds) for cell in run.cells.values()] == [ROUNDS] * 3
    curve = run.cells["none-seed0"].attacks["decoder"].psnr_db
    assert curve[-1].value == pytest.approx(28.5)
    assert all(0 < point.at_s < run.latest_s - START_S for point in curve)
    assert time_left(run, run.latest_s) == "finished"


def test_cells_that_run_at_a_time_share_the_work_that_is_left() -> None:
    run = progress_of(started(("a", "b", "c", "d")), cell_started("a", 0.0), cell_started("b", 0.0))
    run.apply(events.CellFinished(time_s=100.0, cell="a", result=cell_result()))
    run.apply(cell_started("c", 100.0))
    assert run.current is run.cells["b"]
    assert cell_position(run) == "cells 2, 3 of 4"
    # of 100 s each, b has none left, c all, d is to come: by two at a time
    assert run.time_left(100.0) == TimeLeft(100.0, at_least=False)


def test_a_cell_that_is_run_again_is_one_cell() -> None:
    run = progress_of(started(), cell_started("a", 0.0), cell_started("a", 5.0))
    assert run.running == ["a"]
