"""The benchmark of the live view measures what it says, with a browser and without."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from splitfed.bench.web import browser, command, stand_ins
from splitfed.bench.web.browser import NoBrowserError
from splitfed.bench.web.served import served
from splitfed.records.events import ClientProgress
from splitfed.records.store import RunStore

SMALL = ["--events", "8000", "--images", "300", "--pairs", "1", "--train", "240", "--rounds", "1"]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_without_a_browser_it_says_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browser, "NAMES", ("no-such-browser",))
    assert command.main(SMALL) == 0
    by_reader, in_browser, wall, paint, cost = lines(capsys)
    assert by_reader["case"] == "8,000 events: opened by a reader"
    assert 0 < by_reader["live_s"] < 30
    assert 0 < by_reader["sent_events"] < 4000
    for line in (in_browser, wall, paint):
        assert "not installed" in line["skipped"] or "no Chromium" in line["skipped"]
    assert cost["page"] == "a reader of its events"
    assert cost["least_ratio"] == cost["median_ratio"] == cost["most_ratio"] > 0


def test_a_browser_shows_a_long_run_and_a_full_wall(tmp_path: Path) -> None:
    try:
        # Playwright has a loop in each thread, and that of the page's tests goes on
        with ThreadPoolExecutor(1) as apart:
            apart.submit(shown, tmp_path).result()
    except NoBrowserError as error:
        pytest.skip(str(error))


def shown(folder: Path) -> None:
    """A long run and a full wall in a browser."""
    long, wide = stand_ins.long_run(folder, 2000), stand_ins.wide_run(folder, 300)
    with browser.browser() as chromium, served(folder) as (server, _):
        opened = server.open(long)
        with chromium.page(server.address(long)) as page:
            assert 0 < page.first_paint_s() < 30
            assert 0 < page.shows_events_s(opened.events) < 60
        with chromium.page(server.address(wide)) as page:
            assert page.scroll_wall() > 500
            assert page.longest_task_ms() >= 0


def test_a_long_run_has_as_many_events_as_it_says(tmp_path: Path) -> None:
    store = RunStore.open(tmp_path / stand_ins.long_run(tmp_path, 5000))
    said = list(store.read_events())
    assert len(said) == pytest.approx(5000, abs=50)
    assert sum(isinstance(event, ClientProgress) for event in said) == pytest.approx(4000, rel=0.15)
