"""What is written is read again, in order and once, also after a kill in the middle of a write."""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splitfed.errors import FrameError
from splitfed.types import Observation, Phase
from splitfed.wire.observations import ObservationWriter, read_observations

PREFIX = struct.Struct("<4sIQ")
"""Mark, bytes of the head, bytes of the body."""


def observed(
    step: int, *, round_: int = 1, phase: Phase = Phase.TRAIN, client: int = 0, labels: bool = True
) -> Observation:
    activation = torch.full((2, 3, 4), float(step + 100 * client + 1000 * round_))
    return Observation("a run", round_, client, phase, step, activation, torch.tensor([step, 1]) if labels else None)


def write(path: Path, *observations: Observation, keep_rounds: int | None = None) -> None:
    writer = ObservationWriter(path, keep_rounds=keep_rounds)
    for observation in observations:
        writer(observation)
    writer.close()


def same(one: Observation, other: Observation) -> bool:
    labels = (one.labels is None) == (other.labels is None) and (
        one.labels is None or other.labels is None or torch.equal(one.labels, other.labels)
    )
    heads = [(o.run, o.round, o.client, o.phase, o.step) for o in (one, other)]
    return labels and heads[0] == heads[1] and torch.equal(one.activation, other.activation)


def test_observations_come_back_by_phase_round_client_and_step(tmp_path: Path) -> None:
    written = [
        observed(step, round_=round_, phase=phase, client=client, labels=client == 0)
        for phase in (Phase.AUDIT, Phase.TRAIN)
        for step in (1, 0)
        for round_ in (2, 1)
        for client in (1, 0)
    ]
    write(tmp_path, *written)
    expected = sorted(written, key=lambda o: (o.phase, o.round, o.client, o.step))
    read = list(read_observations(tmp_path))
    assert len(read) == len(expected)
    assert all(same(a, b) for a, b in zip(read, expected, strict=True))


def test_observations_are_restricted_to_what_is_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        *(observed(0, round_=r, phase=p, client=c) for r in (1, 2) for p in Phase for c in (0, 1, 2)),
    )
    assert len(list(read_observations(tmp_path))) == 18
    assert len(list(read_observations(tmp_path, round=2))) == 9
    assert len(list(read_observations(tmp_path, phase=Phase.TEST))) == 6
    one = list(read_observations(tmp_path, round=1, phase=Phase.AUDIT, client=2))
    assert [(o.round, o.phase, o.client) for o in one] == [(1, Phase.AUDIT, 2)]


def test_a_step_that_was_sent_again_is_there_once_as_last_seen(tmp_path: Path) -> None:
    again = Observation("a run", 1, 0, Phase.TRAIN, 0, torch.ones(2, 3, 4), None)
    write(tmp_path, observed(0), observed(1), again)
    read = list(read_observations(tmp_path))
    assert [o.step for o in read] == [0, 1]
    assert same(read[0], again)


def test_what_is_not_there_yet_has_no_observations(tmp_path: Path) -> None:
    assert list(read_observations(tmp_path / "later")) == []


@given(lost=st.integers(1, 400))
def test_a_cut_file_keeps_its_whole_records_and_can_be_gone_on_with(lost: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write(path, *(observed(step) for step in range(3)))
        (file,) = path.iterdir()
        record_bytes = file.stat().st_size // 3
        with file.open("r+b") as cut:
            cut.truncate(file.stat().st_size - lost)
        whole = 3 - -(-lost // record_bytes)
        assert [o.step for o in read_observations(path)] == list(range(whole))
        write(path, observed(7))
        assert [o.step for o in read_observations(path)] == [*range(whole), 7]


def test_a_damaged_file_is_told_apart_from_a_cut_one(tmp_path: Path) -> None:
    write(tmp_path, observed(0))
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"XXXX" + file.read_bytes()[4:])
    with pytest.raises(FrameError, match="no observation at byte 0"):
        list(read_observations(tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sound": 1}, "sound: Extra inputs"),
        ({"step": "3"}, "step: Input should be a valid integer"),
        ({"phase": 9}, "phase: Input should be less"),
        ({"run": None}, "run: Input should be a valid string"),
        ({"shape": [2, 3, 5]}, "24 numbers .* expected a shape of"),
    ],
)
def test_a_head_that_does_not_fit_is_named_with_its_place(change: dict[str, object], says: str, tmp_path: Path) -> None:
    write(tmp_path, observed(0))
    (file,) = tmp_path.iterdir()
    mark, head_bytes, body_bytes = PREFIX.unpack(file.read_bytes()[: PREFIX.size])
    head, body = file.read_bytes()[PREFIX.size :][:head_bytes], file.read_bytes()[-body_bytes:]
    changed = json.dumps({**json.loads(head), **change}).encode()
    file.write_bytes(PREFIX.pack(mark, len(changed), body_bytes) + changed + body)
    with pytest.raises(FrameError, match=says):
        list(read_observations(tmp_path))


def test_observations_can_be_read_while_they_are_written(tmp_path: Path) -> None:
    writer = ObservationWriter(tmp_path)
    for step in range(3):
        writer(observed(step))
        assert [o.step for o in read_observations(tmp_path)] == list(range(step + 1))
    writer.close()


def test_old_rounds_are_pruned_but_for_the_audits(tmp_path: Path) -> None:
    write(tmp_path, *(observed(0, round_=r, phase=p) for r in range(1, 12) for p in Phase), keep_rounds=2)
    assert [o.round for o in read_observations(tmp_path, phase=Phase.TRAIN)] == [10, 11]
    assert [o.round for o in read_observations(tmp_path, phase=Phase.TEST)] == [10, 11]
    assert [o.round for o in read_observations(tmp_path, phase=Phase.AUDIT)] == list(range(1, 12))


def test_at_least_the_current_round_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep_rounds is 0"):
        ObservationWriter(tmp_path, keep_rounds=0)
