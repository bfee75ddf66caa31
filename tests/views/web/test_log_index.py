"""The index finds each event again, whoever writes the log meanwhile, and whatever is in it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from splitfed.records.events import Event, Notice, PrepareProgress, WireCounted
from splitfed.views.web import log_index
from splitfed.views.web.log_index import LogIndex
from tests.views.web.pages import add, line, notices, step


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def written(log: Path, *said: Event) -> LogIndex:
    add(log, b"".join(map(line, said)))
    index = LogIndex(log)
    index.catch_up()
    return index


def told(index: LogIndex) -> list[str]:
    """The messages of all notices."""
    return [json.loads(found.data)["message"] for found in index.read(list(range(len(index))))]


def test_what_is_read_is_what_was_written(log: Path) -> None:
    said: list[Event] = [*notices(3), step(1)]
    index = written(log, *said)
    found = index.read([0, 1, 2, 3])
    assert [each.data + b"\n" for each in found] == [line(event) for event in said]
    assert [each.name for each in found] == ["Notice"] * 3 + ["ClientProgress"]
    assert [each.time_s for each in found] == [event.time_s for event in said]
    assert found[-1].end == log.stat().st_size


def test_it_grows_with_the_log(log: Path) -> None:
    index = LogIndex(log)
    assert not index.catch_up(), "there is no log yet"
    for number in range(5):
        add(log, line(Notice(message=str(number))))
        assert index.catch_up()
        assert not index.catch_up()
    assert told(index) == list("01234")


def test_a_line_that_is_still_being_written_is_waited_for(log: Path) -> None:
    whole = line(Notice(message="late"))
    index = written(log, Notice(message="early"))
    for start in range(0, len(whole) - 1, 7):
        add(log, whole[start : min(start + 7, len(whole) - 1)])
        index.catch_up()
        assert told(index) == ["early"]
    add(log, whole[-1:])
    assert index.catch_up()
    assert told(index) == ["early", "late"]
    assert index.skipped == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"{\n",
        b"\xff\xfe\n",
        b'{"event":"Unheard","time_s":1.0}\n',
        b'{"event":"Notice"}\n',
        b'{"event":"Notice","time_s":1.0,"message":7}\n',
        b"[" * 100_000 + b"\n",
        b'{"event":"Notice","time_s":1.0,"message":"a"}{"event"\n',
        b"\0" * 1000 + b"\n",
    ],
)
def test_a_line_that_is_no_event_is_skipped_and_counted(log: Path, garbage: bytes) -> None:
    add(log, line(Notice(message="before")) + garbage)
    index = written(log, Notice(message="after"))
    assert told(index) == ["before", "after"]
    assert index.skipped == 1


def test_a_line_without_an_end_takes_no_memory(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_index, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(log_index, "MOST_LINE_BYTES", 4000)
    add(log, line(Notice(message="before")) + b"x" * 20_000 + b"\n")
    index = written(log, Notice(message="a" * 2500), Notice(message="after"))
    assert told(index) == ["before", "a" * 2500, "after"]
    assert index.skipped == 1


def test_a_log_that_was_replaced_is_read_anew(log: Path) -> None:
    index = written(log, *notices(4))
    log.write_bytes(line(Notice(message="new")))
    assert index.catch_up()
    assert told(index) == ["new"]
    assert index.generation == 1


def test_a_log_that_vanishes_has_nothing_new(log: Path) -> None:
    index = written(log, *notices(2))
    log.unlink()
    assert not index.catch_up()
    assert index.read([0, 1]) == []
    add(log, b"".join(map(line, notices(3))))
    assert index.catch_up()
    assert told(index) == list("012")


def test_numbers_that_are_none_are_null_for_a_browser(log: Path) -> None:
    diverged = step(1).model_copy(update={"loss": math.nan, "images_per_s": math.inf})
    (found,) = written(log, diverged).read([0])
    table = json.loads(found.data, parse_constant=pytest.fail)
    assert table["loss"] is None
    assert table["images_per_s"] is None
    (named,) = written(log.with_name("b"), Notice(message="NaN")).read([0])
    assert json.loads(named.data)["message"] == "NaN"


def test_only_what_a_later_event_makes_worthless_is_left_out(log: Path) -> None:
    wire = {"clients": (), "refused": {}, "broken": 0, "lost": (), "sealed": False}
    said: list[Event] = [
        step(1),
        step(1, client=1),
        step(2),
        Notice(message="a"),
        step(1, round_number=2),
        step(3),
        PrepareProgress(cell="none", what="first dictionary", done=1, total=2),
        PrepareProgress(cell="none", what="first dictionary", done=2, total=2),
        WireCounted(cell="none", round=1, **wire),  # type: ignore[arg-type]
        WireCounted(cell="none", round=1, **wire),  # type: ignore[arg-type]
        WireCounted(cell="none", round=2, **wire),  # type: ignore[arg-type]
        Notice(message="a"),
    ]
    index = written(log, *said)
    assert index.kept(0, len(index)) == [1, 3, 4, 5, 7, 9, 10, 11]
    assert index.kept(0, 3) == [1, 2], "what comes later does not count"
    assert index.kept(5, 6) == [5]


def test_a_page_goes_on_at_the_end_of_a_line_and_nowhere_else(log: Path) -> None:
    index = written(log, *notices(3))
    ends = [found.end for found in index.read([0, 1, 2])]
    assert index.after(0) == 0
    assert [index.after(end) for end in ends] == [1, 2, 3]
    assert [index.after(end + 1) for end in ends] == [None] * 3
    assert index.after(10**18) is None
    assert LogIndex(log).after(0) == 0


def test_a_long_log_is_thinned_to_what_is_worth_showing(log: Path) -> None:
    add(log, b"".join(line(step(number, client=number % 3, round_number=number // 1000)) for number in range(50_000)))
    index = LogIndex(log)
    assert index.catch_up()
    assert len(index) == 50_000
    assert len(index.kept(0, 50_000)) == 3 * 50
