"""Every record is written and read by one class, which knows all of its keys and no others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from splitfed.attacker.protocol import MESSAGES, Attacked
from splitfed.records import events
from splitfed.records.record import Record, Spoken, of_json, to_json
from tests.records.examples import EXAMPLES

MAY_BE_LEFT_OUT = {
    "RunStarted": {"finished"},
    "Notice": {"level"},
    "AttackProgress": {"psnr_db", "ssim", "reid_top1", "strip", "strip_tile", "final"},
    "WallMoment": {"psnr_db", "ssim", "reid_rank"},
    "WallShown": {"psnr_db", "ssim", "reid_rank"},
    "WallFinal": {"psnr_db", "ssim", "reid_rank", "nearest"},
    "WallAttack": {"final"},
    "Victims": {"tiles_per_row", "tiles_per_sheet"},
    "Learned": {"reconstructions"},
    "Done": {"moved_by", "ciphertext"},
    "Warned": {"level"},
    "AttackScore": {"fid_lite0", "fid", "by_client", "added_nothing", "at_cap", "pool_mse", "lite0_distance", "phase"},
    "Attacked": {"phase"},
    "CellResult": {
        "sealed",
        "reid",
        "reid_by",
        "reid_matched",
        "reid_chance_in_class",
        "reid_pool",
        "ideal",
        "against_none",
        "linked_oracle",
    },
    "Results": {"training", "truth", "vantage", "baselines_by_seed"},
}
"""What has a value where it is not given; it is written all the same. Of events also the time and the tag."""


def subclasses(kind: type[Record]) -> set[type[Record]]:
    below = {sub for sub in kind.__subclasses__() if sub.__module__.startswith("splitfed.")}
    return below.union(*map(subclasses, below))


RECORDS = sorted(subclasses(Record) - {Spoken, events.Event}, key=lambda kind: kind.__name__)
every_record = pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)


def written(kind: type[Record]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(to_json(EXAMPLES[kind]))
    return found


def read(kind: type[Record], table: dict[str, Any]) -> Record:
    return of_json(TypeAdapter(kind), json.dumps(table))


def test_every_record_has_an_example() -> None:
    assert set(EXAMPLES) == set(RECORDS)


@every_record
def test_what_is_written_is_read_back_whole(kind: type[Record]) -> None:
    keys = {field.alias or name for name, field in kind.model_fields.items()}
    assert set(written(kind)) == keys
    assert of_json(TypeAdapter(kind), to_json(EXAMPLES[kind])) == EXAMPLES[kind]


@every_record
def test_an_unknown_key_is_refused(kind: type[Record]) -> None:
    with pytest.raises(ValidationError, match=r"sound\n"):
        read(kind, {**written(kind), "sound": 1})


@every_record
def test_a_missing_key_is_refused(kind: type[Record]) -> None:
    tags = {"time_s", "event"} if issubclass(kind, events.Event) else {"kind"} if issubclass(kind, Spoken) else set()
    free = MAY_BE_LEFT_OUT.get(kind.__name__, set()) | tags
    for key in written(kind).keys() - free:
        with pytest.raises(ValidationError, match=rf"{key}\n"):
            read(kind, {name: value for name, value in written(kind).items() if name != key})
    read(kind, {name: value for name, value in written(kind).items() if name not in free})


@every_record
def test_a_number_as_text_is_refused(kind: type[Record]) -> None:
    for key, value in written(kind).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            with pytest.raises(ValidationError, match=rf"{key}\n"):
                read(kind, {**written(kind), key: str(value)})


@every_record
def test_it_does_not_change(kind: type[Record]) -> None:
    name = next(iter(kind.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(EXAMPLES[kind], name, getattr(EXAMPLES[kind], name))


@pytest.mark.parametrize("change", [{"sound": 1}, {"epochs": "3"}, {"first_loss": None}])
def test_the_evidence_of_a_fit_is_as_strict(change: dict[str, object]) -> None:
    whole = written(Attacked)
    whole["fit"] |= change
    with pytest.raises(ValidationError, match=rf"fit\.{next(iter(change))}\n"):
        read(Attacked, whole)


def test_lines_of_two_records_in_one_are_refused() -> None:
    line = MESSAGES.write(Attacked(attack="a", is_control=True, fit=None, reconstructions="a.npz", seconds=1.0))
    assert MESSAGES.read(line) == MESSAGES.read(line.decode())
    with pytest.raises(ValidationError, match="Invalid JSON"):
        MESSAGES.read(line + line)


@pytest.mark.parametrize("text", [b'{"a": "\\udce9"', b"\\ud", b"[" * 100_000 + b"\\ud"])
def test_garbage_with_what_looks_like_no_text_is_no_record(text: bytes) -> None:
    with pytest.raises(ValidationError, match="Invalid JSON"):
        events.EVENTS.read(text)
