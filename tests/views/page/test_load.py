"""A wall of thousands of images scrolls, a page open over night stays small, what cannot be read is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from splitfed.records import events
from splitfed.records.store import RunStore
from splitfed.records.wall import WallFolder
from tests.views.fabricated import CELLS, manifest, run_events, run_results
from tests.views.hung import hang
from tests.views.page.chromium import opened
from tests.views.page.server import WatchServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

MANY = 6000
LONGEST_TASK_MS = 200
SCROLLS = 40


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a run with 6,000 images, two damaged lines in its record."""
    root = tmp_path_factory.mktemp("full")
    with RunStore.create(root, "full", manifest()) as store:
        for event in run_events(store.path):
            store.append_event(event)
        store.save_results(run_results())
        with (store.path / "events.jsonl").open("ab") as log:
            log.write(b'{"event": "Nonsense"}\nno event at all\n')
        hang(store.path, MANY, cells=CELLS[:1])
    with WatchServer(root) as server:
        yield f"{server.address}run/{store.path.name}"


def test_thousands_of_images_scroll_without_a_long_task(browser: Browser, full: str) -> None:
    with opened(browser, full) as watched:
        watched.page.locator(".item").first.wait_for()
        watched.until(f"""document.querySelector(".status").textContent.startsWith("{MANY:,} private images")""")
        watched.page.wait_for_timeout(500)
        browser.start_tracing(page=watched.page, categories=["toplevel", "devtools.timeline"])
        watched.page.evaluate(SCROLL, SCROLLS)
        tasks = tasks_ms(json.loads(browser.stop_tracing()))
        assert watched.number("document.querySelector('.scroller').scrollTop") > 0
        assert watched.number("document.querySelectorAll('.item').length") < 200
        assert len(tasks) > SCROLLS
        assert max(tasks) < LONGEST_TASK_MS


SCROLL = """async (steps) => {
  const scroller = document.querySelector(".scroller");
  for (let step = 1; step <= steps; step += 1) {
    scroller.scrollTop = (scroller.scrollHeight * step) / steps;
    await new Promise((resume) => requestAnimationFrame(() => setTimeout(resume, 20)));
  }
}"""


def tasks_ms(trace: Any) -> list[float]:
    """How long the tasks of the pages' main threads kept a processor; waiting for it is not counted."""
    events = trace["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event["tdur"] / 1000
        for event in events
        if event["name"].endswith("RunTask") and "tdur" in event and (event["pid"], event["tid"]) in mains
    ]


def test_what_is_no_event_is_said_with_a_count(browser: Browser, full: str) -> None:
    with opened(browser, full) as watched:
        watched.page.locator("#notices", has_text="2 lines of the record are no events").wait_for()


def test_a_page_that_is_open_for_long_stays_small(browser: Browser, full: str) -> None:
    with opened(browser, full) as watched:
        kept: Any = watched.page.evaluate(LONG)
        assert kept["curve"] <= 400
        assert kept["last"] == 99_999
        assert kept["notices"] <= 100
        assert kept["dropped"] == 900
        assert kept["moments"] <= 40
        assert kept["stride"] > 1


LONG = """async () => {
  const { RunState } = await import("/static/state.js");
  const { WallStore } = await import("/static/wallstore.js");
  const run = new RunState();
  const store = new WallStore({ wall: async () => ({ victims: {}, cells: {} }) }, () => {});
  const started = { event: "CellStarted", cell: "a", defense: "none", seed: 0, rounds: 5, clients: 1, time_s: 0 };
  run.apply(started);
  for (let at = 0; at < 100000; at += 1)
    run.apply({ event: "AttackProgress", cell: "a", attack: "b", psnr_db: at, ssim: 0.5, time_s: at });
  for (let at = 0; at < 1000; at += 1) {
    run.apply({ event: "Notice", message: String(at), level: "info", time_s: at });
    store.apply({ event: "WallMoment", cell: "a", attack: "b", number: at, victims: [], sheet: "" });
  }
  const curve = run.cells.get("a").attacks.get("b").psnr_db;
  const { moments } = store.entry("a", "b");
  return {
    curve: curve.points.length,
    last: curve.all.at(-1).y,
    notices: run.notices.length,
    dropped: run.dropped,
    moments: moments.length,
    stride: moments[1].number - moments[0].number,
  };
}"""


def test_an_event_that_makes_no_sense_costs_nothing(browser: Browser, full: str) -> None:
    broken = [
        events.RoundFinished(cell="nobody", round=1, rounds=1, loss=1.0, accuracy=0.5).model_dump(),
        {"event": "Unheard"},
        {"event": "CellFinished", "cell": "x", "result": {"attacks": {}, "gates": {}, "valid": True}},
        {"event": "WireCounted", "cell": "x", "clients": []},
    ]
    with opened(browser, full) as watched:
        taken = watched.page.evaluate(
            """async (broken) => {
              const { RunState } = await import("/static/state.js");
              const run = new RunState();
              for (const event of broken) run.apply(event);
              return run.events;
            }""",
            broken,
        )
        assert taken == len(broken)


def test_without_pictures_the_page_says_so(browser: Browser, tmp_path: Path) -> None:
    with RunStore.create(tmp_path, "bare", manifest()) as store:
        for event in run_events(store.path):
            store.append_event(event)
        store.save_results(run_results())
    with WatchServer(tmp_path) as server, opened(browser, f"{server.address}run/{store.path.name}") as watched:
        watched.page.locator(".empty", has_text="No attack has shown anything").wait_for()
        watched.page.locator('figure[data-name="accuracy"]').wait_for()
        assert watched.complaints == []


def test_a_page_that_was_open_before_there_was_a_wall_shows_it(browser: Browser, tmp_path: Path) -> None:
    first, *_ = CELLS
    with (
        RunStore.create(tmp_path, "early", manifest()) as store,
        WatchServer(tmp_path) as server,
        opened(browser, f"{server.address}run/{store.path.name}") as watched,
    ):
        watched.page.locator("#connection", has_text="live").wait_for()
        for event in run_events(store.path)[:30]:
            store.append_event(event)
        hang(store.path, 48)
        shown = WallFolder(store.path).attack(first, "ridge")
        assert shown is not None
        store.append_event(events.WallMoment(cell=first, attack="ridge", **shown.moments[0].model_dump()))
        watched.page.locator(".item").first.wait_for()
        assert watched.complaints == []


def test_pages_that_are_not_seen_leave_their_connection_to_others(browser: Browser, tmp_path: Path) -> None:
    """A browser has six of them for one server."""
    with RunStore.create(tmp_path, "tabs", manifest()) as store, WatchServer(tmp_path) as server:
        for event in run_events(store.path)[:30]:
            store.append_event(event)
        address = f"{server.address}run/{store.path.name}"
        with opened(browser, address) as watched:
            tabs = [watched.page]
            for _ in range(7):
                tabs[-1].locator("#connection", has_text="live").wait_for()
                tabs[-1].evaluate(SEEN, False)
                tabs[-1].locator("#connection", has_text="waits until it is seen").wait_for()
                tabs.append(watched.page.context.new_page())
                tabs[-1].goto(address)
            tabs[-1].locator("#connection", has_text="live").wait_for()
            before = tabs[0].evaluate("Number(document.body.dataset.events)")
            for number in range(10):
                store.append_event(events.Notice(message=str(number)))  # which a page that comes late is told whole
            tabs[-1].locator(f"body[data-events='{before + 10}']").wait_for()
            assert tabs[0].evaluate("Number(document.body.dataset.events)") == before
            tabs[0].bring_to_front()
            tabs[0].evaluate(SEEN, True)
            tabs[0].locator(f"body[data-events='{before + 10}']").wait_for()
            assert watched.complaints == []


SEEN = """(seen) => {
  Object.defineProperty(document, "hidden", { value: !seen, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_replay_that_was_asked_for_begins_by_itself(browser: Browser, tmp_path: Path) -> None:
    with RunStore.create(tmp_path, "again", manifest()) as store:
        for event in run_events(store.path):
            store.append_event(event)
        store.save_results(run_results())
    with (
        WatchServer(tmp_path, "--speed", "200") as server,
        opened(browser, f"{server.address}run/{store.path.name}") as watched,
    ):
        watched.page.locator("#connection", has_text="replaying").wait_for()
        assert watched.page.locator("#replay select").input_value() == "200"
        watched.page.locator("#connection", has_text="complete").wait_for()
        assert watched.text("#progress").startswith("finished in")


def test_where_nobody_knows_the_truth_reconstructions_stand_alone(browser: Browser, tmp_path: Path) -> None:
    with RunStore.create(tmp_path, "blind", manifest()) as store:
        for event in run_events(store.path):
            store.append_event(event)
        hang(store.path, 48, truth=False)
    with WatchServer(tmp_path) as server, opened(browser, f"{server.address}run/{store.path.name}") as watched:
        item = watched.page.locator(".item").first
        item.wait_for()
        assert item.locator("canvas").count() == 1
        assert "dB" not in item.inner_text()
        item.click()
        watched.page.locator("dialog[open] tbody tr").first.wait_for()
        assert watched.page.locator("dialog canvas").count() == 2  # two attacks, no original, no neighbors
        assert "—" in watched.text("dialog tbody")
        assert watched.complaints == []


def test_a_run_that_is_not_there_is_said_in_words(browser: Browser, full: str) -> None:
    with opened(browser, full) as watched:
        answer = watched.page.goto(full + "-not")
        assert answer is not None
        assert answer.status == 404
        assert "no run" in answer.text()
