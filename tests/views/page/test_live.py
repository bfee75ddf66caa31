"""A run is seen while it goes on: reconstructions appear, a lost connection costs nothing, nothing is doubled."""

from __future__ import annotations

import pytest

from tests.views.page.journey import CELLS, ROUNDS, Journey

pytestmark = pytest.mark.slow


def test_the_front_page_lists_it_while_it_runs(journey: Journey) -> None:
    assert journey.run.name in journey.listed
    assert "running" in journey.listed


def test_the_wall_fills_while_it_runs(journey: Journey) -> None:
    assert journey.tiles[0] == 0
    assert max(journey.tiles) >= 2
    assert any("round" in said for said in journey.progress)
    assert journey.progress[-1].startswith("finished in")
    assert journey.progress[-1].endswith("INVALID")


def test_a_killed_connection_is_taken_up_where_it_was(journey: Journey) -> None:
    assert "connection lost, trying again" in journey.states
    lost = journey.states.index("connection lost, trying again")
    assert "live" in journey.states[lost:] or "complete" in journey.states[lost:]
    assert journey.after > journey.before > 0


def test_no_event_is_lost_or_doubled(journey: Journey) -> None:
    recorded = [[e["cell"], str(e["round"]), e["accuracy"]] for e in journey.events("RoundFinished")]
    assert len(recorded) == len(CELLS) * ROUNDS
    for rows in (journey.accuracy, journey.reloaded):
        assert [[cell, at] for cell, at, _ in rows] == [row[:2] for row in recorded]
        for (_, _, shown), (_, _, accuracy) in zip(rows, recorded, strict=True):
            assert float(shown) == pytest.approx(accuracy, rel=5e-3)


def test_nothing_leaves_the_machine_and_the_console_is_silent(journey: Journey) -> None:
    assert journey.asked <= {"127.0.0.1", "data"}
    assert journey.complaints == []
