"""What the attacker shows meanwhile: the observations that it was told to, or the first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from splitfed.attacker.observed import Observed
from splitfed.types import Observation, Phase
from splitfed.wire.observations import ObservationWriter

Place = tuple[int, int, int, int]


def observed(folder: Path, *seen: tuple[Phase, int, int], shown: Sequence[Place] = ()) -> Observed:
    """Four rows of width 2 for each phase, client and step of round 1."""
    write = ObservationWriter(folder)
    for phase, client, step in seen:
        write(Observation("run", 1, client, phase, step, torch.zeros(4, 2), labels=None))
    write.close()
    return Observed(folder, 2, pytest.fail, shown=shown)


def shown(made: Observed, round_number: int = 1, rows: int = 6) -> list[Place]:
    return [tuple(row) for part in made.to_show(round_number, rows) for row in part.seen.index()[part.rows].tolist()]


def test_it_shows_the_first_where_nobody_said_what(tmp_path: Path) -> None:
    made = observed(tmp_path, (Phase.TRAIN, 0, 0), (Phase.TRAIN, 0, 1), (Phase.TRAIN, 1, 0))
    assert shown(made) == [(1, 0, step, row) for step in (0, 1) for row in range(4)]


def test_it_shows_what_it_was_told_to_as_far_as_that_has_come_past(tmp_path: Path) -> None:
    wanted = [(1, 0, 1, 2), (1, 0, 1, 9), (1, 1, 0, 0), (1, 2, 0, 0), (2, 0, 0, 0)]
    made = observed(tmp_path, (Phase.TRAIN, 0, 0), (Phase.TRAIN, 0, 1), (Phase.TRAIN, 1, 0), shown=wanted)
    assert shown(made) == [(1, 0, 1, 2), (1, 1, 0, 0)]
    assert shown(made, round_number=2) == []


def test_it_shows_the_audit_once_there_is_any(tmp_path: Path) -> None:
    made = observed(tmp_path, (Phase.TRAIN, 0, 0), (Phase.AUDIT, 1, 0), shown=[(1, 0, 0, 0), (1, 1, 0, 3)])
    assert shown(made) == [(1, 1, 0, 3)]
