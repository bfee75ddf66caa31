"""A page is told everything once and in order, wherever it left off, and costs nobody anything when it stalls."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from splitfed.records.events import Notice
from splitfed.records.store import RunStore
from splitfed.views.web import app, feed, stream
from tests.views.web.pages import WAIT_S, Message, Page, Stream, add, line, new_run, notices, say, serving, step


@pytest.fixture
def run(tmp_path: Path) -> RunStore:
    return new_run(tmp_path, *notices(3))


@pytest.fixture
def page(run: RunStore) -> Iterator[Page]:
    with serving(run.path) as served:
        yield served


def events_of(run: RunStore) -> str:
    return f"/api/runs/{run.path.name}/events"


def told(messages: list[Message]) -> list[str]:
    """The texts of all notices, old and new."""
    found = []
    for message in messages:
        for event in message.data if message.event == "history" else [message.data]:
            if event.get("event") == "Notice":
                found.append(event["message"])
    return found


def test_a_page_is_told_what_was_and_then_what_happens(run: RunStore, page: Page) -> None:
    opened = page.stream(events_of(run))
    assert opened.answer.status == 200
    assert opened.answer.headers["content-type"].startswith("text/event-stream")
    assert told(opened.until("live")) == ["0", "1", "2"]
    for number in (3, 4):
        say(run, Notice(message=str(number)))
        message = opened.next()
        assert message.event == "Notice"
        assert message.data["message"] == str(number)
        assert message.id == (run.path / "events.jsonl").stat().st_size
    opened.close()


def test_a_page_that_lost_its_connection_goes_on_without_loss_or_doubles(run: RunStore, page: Page) -> None:
    """Wherever the connection breaks."""
    heard: list[str] = []
    last = 0
    for number in range(3, 9):
        opened = page.stream(events_of(run), last_event_id=str(last))
        until_now = opened.until("live")
        say(run, Notice(message=str(number)))
        until_now.append(opened.next())
        opened.close()
        say(run, Notice(message=f"{number} while it was away"))
        heard += told(until_now)
        last = next(message.id for message in reversed(until_now) if message.id is not None)
    opened = page.stream(f"{events_of(run)}?from={last}")
    heard += told(opened.until("live"))
    expected = ["0", "1", "2"]
    for number in range(3, 9):
        expected += [str(number), f"{number} while it was away"]
    assert heard == expected
    opened.close()


def test_every_id_of_a_long_history_is_a_place_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HISTORY", 10)
    run = new_run(tmp_path, *(event for number in range(40) for event in (*notices(1, number), step(number))))
    with serving(run.path) as page:
        whole = page.stream(events_of(run)).until("live")
        assert told(whole) == [str(number) for number in range(40)]
        assert len(whole) > 4
        for cut, message in enumerate(whole[:-1]):
            rest = page.stream(events_of(run), last_event_id=str(message.id)).until("live")
            assert told(whole[: cut + 1]) + told(rest) == told(whole)


def test_old_progress_is_thinned(tmp_path: Path) -> None:
    run = new_run(tmp_path, *(step(number) for number in range(1000)), *notices(1))
    with serving(run.path) as page:
        history, live = page.stream(events_of(run)).until("live")
    assert [event.get("step", "notice") for event in history.data] == [999, "notice"]
    assert live.id is None


def test_an_id_of_another_log_begins_anew(run: RunStore, page: Page) -> None:
    opened = page.stream(events_of(run), last_event_id="7")
    restart, *rest = opened.until("live")
    assert (restart.event, restart.id) == ("restart", 0)
    assert told(rest) == ["0", "1", "2"]
    opened.close()


def test_a_log_that_is_replaced_begins_anew(run: RunStore, page: Page) -> None:
    opened = page.stream(events_of(run))
    opened.until("live")
    (run.path / "events.jsonl").write_bytes(line(Notice(message="new")))
    restart, history = opened.until("history")
    assert restart.event == "restart"
    assert told([history]) == ["new"]
    opened.close()


def test_a_run_that_was_killed_and_goes_on_is_told_without_a_gap(run: RunStore, page: Page) -> None:
    """What was half written is taken back by who goes on with the run."""
    log = run.path / "events.jsonl"
    opened = page.stream(events_of(run))
    opened.until("live")
    add(log, line(Notice(message="half"))[:-9])
    time.sleep(3 * 0.2)
    say(run, Notice(message="3"))
    assert told([opened.next()]) == ["3"]
    assert told(page.stream(events_of(run)).until("live")) == ["0", "1", "2", "3"]
    opened.close()


def test_lines_that_are_no_events_are_counted(run: RunStore, page: Page) -> None:
    log = run.path / "events.jsonl"
    add(log, b"garbage\n")
    opened = page.stream(events_of(run))
    assert [m.data for m in opened.until("live") if m.event == "skipped"] == [{"count": 1}]
    add(log, b"more\n\n" + line(Notice(message="3")))
    later = opened.until("skipped")
    assert told(later) == ["3"]
    assert later[-1].data == {"count": 3}
    opened.close()


def test_a_run_whose_files_vanish_leaves_its_page_open(run: RunStore, page: Page) -> None:
    opened = page.stream(events_of(run))
    opened.until("live")
    (run.path / "events.jsonl").unlink()
    (run.path / "manifest.json").unlink()
    time.sleep(3 * 0.2)
    assert page.get(events_of(run)).status == 404
    add(run.path / "events.jsonl", b"".join(map(line, notices(5))))
    heard = [opened.next()]
    while "4" not in told(heard):  # told from the start again where the log was seen before its first line
        heard.append(opened.next())
    opened.close()


def test_a_page_hears_now_and_then_that_it_is_connected(
    run: RunStore, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "KEEPALIVE_S", 0.05)
    opened = page.stream(events_of(run))
    opened.until("live")
    threading.Timer(0.5, say, [run, Notice(message="3")]).start()
    opened.next()
    assert opened.comments >= 3
    opened.close()


def test_a_finished_run_is_replayed_with_its_own_pauses(tmp_path: Path) -> None:
    said = [Notice(message=str(number), time_s=at_s) for number, at_s in enumerate((0.0, 0.0, 2.0, 6.0))]
    run = new_run(tmp_path, *said)
    with serving(run.path) as page:
        opened = page.stream(f"{events_of(run)}?speed=10")
        began, heard_s = time.monotonic(), []
        for number in range(4):
            message = opened.next()
            assert message.event == "Notice"
            assert message.data["message"] == str(number)
            heard_s.append(time.monotonic() - began)
        assert opened.next().event == "live"
        assert heard_s == pytest.approx([0.0, 0.0, 0.2, 0.6], abs=0.15)
        again = page.stream(f"{events_of(run)}?speed=10", last_event_id=str(message.id))
        assert again.next().event == "live", "it goes on where it was"


def test_the_pause_of_a_night_is_short_in_a_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LONGEST_PAUSE_S", 0.2)
    run = new_run(tmp_path, Notice(message="0", time_s=0.0), Notice(message="1", time_s=30_000.0))
    with serving(run.path) as page:
        began = time.monotonic()
        assert told(page.stream(f"{events_of(run)}?speed=1").until("live")) == ["0", "1"]
        assert 0.15 < time.monotonic() - began < 5


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast", "1e9", ""])
def test_a_speed_that_is_none_is_refused(run: RunStore, page: Page, speed: str) -> None:
    answer = page.get(f"{events_of(run)}?speed={speed}")
    assert answer.status == 400
    assert "a number above 0" in answer.error


@pytest.mark.parametrize("offset", ["-1", "a", "1" * 30, "²"])
def test_an_offset_that_is_none_is_refused(run: RunStore, page: Page, offset: str) -> None:
    answer = page.get(f"{events_of(run)}?from={quote(offset)}")
    assert answer.status == 400
    assert "an offset of the log is expected" in answer.error


def test_a_page_that_does_not_read_is_given_up_and_others_do_not_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "SLOW_S", 0.5)
    long = "x" * 10_000
    run = new_run(tmp_path, *(Notice(message=f"{number} {long}") for number in range(2000)))
    with serving(run.path) as page, socket.create_connection(("127.0.0.1", page.port)) as frozen:
        frozen.sendall(f"GET {events_of(run)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert len(told(page.stream(events_of(run)).until("live"))) == 2000
        frozen.settimeout(WAIT_S)
        time.sleep(1.0)
        assert _bytes_left(frozen) < (run.path / "events.jsonl").stat().st_size / 2
    assert caplog.records == []


def _bytes_left(connection: socket.socket) -> int:
    """Read until the other end is closed."""
    got = 0
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            got += len(part)
    return got


def test_so_many_pages_may_be_open_and_one_more_is_told_so(
    run: RunStore, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MOST_STREAMS", 2)
    opened = [page.stream(events_of(run)) for _ in range(2)]
    for each in opened:
        each.until("live")
    answer = page.get(events_of(run))
    assert answer.status == 503
    assert "2 pages are open already" in answer.error
    opened[0].close()
    deadline = time.monotonic() + WAIT_S
    while page.get(events_of(run), method="HEAD").status != 200 or not _admitted(page, run):
        assert time.monotonic() < deadline
    opened[1].close()


def _admitted(page: Page, run: RunStore) -> bool:
    opened = page.stream(events_of(run))
    admitted = opened.answer.status == 200
    opened.close()
    return admitted


def test_fifty_pages_are_all_told_of_the_same(run: RunStore, page: Page) -> None:
    opened = [page.stream(events_of(run)) for _ in range(50)]
    assert all(told(each.until("live")) == ["0", "1", "2"] for each in opened)
    say(run, Notice(message="3"))
    assert all(each.next().data["message"] == "3" for each in opened)
    for each in opened:
        each.close()


def test_streams_end_with_the_server(run: RunStore) -> None:
    with serving(run.path) as page:
        opened = page.stream(events_of(run))
        opened.until("live")
        began = time.monotonic()
    assert time.monotonic() - began < 5
    with pytest.raises(EOFError):
        opened.next()


def test_what_is_told_is_json_on_one_line(tmp_path: Path) -> None:
    run = new_run(tmp_path, Notice(message="two\nlines\r and \u2028"))
    with serving(run.path) as page:
        history, _ = page.stream(events_of(run)).until("live")
    assert told([history]) == ["two\nlines\r and \u2028"]
    assert json.dumps(history.data)


def test_the_last_words_are_told_though_the_server_ends_right_after(
    run: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "POLL_S", 60.0)  # so that nobody looks between the words and the end
    heard: list[str] = []

    def hear(opened: Stream) -> None:
        with suppress(EOFError):
            while True:
                heard.append(opened.next().data["message"])

    with serving(run.path) as page:
        opened = page.stream(events_of(run))
        opened.until("live")
        reader = threading.Thread(target=hear, args=(opened,))
        reader.start()
        say(run, *notices(2, start=3))
    reader.join(WAIT_S)
    assert heard == ["3", "4"]
