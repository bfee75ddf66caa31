"""One small run, watched in a browser from before its first cell to its end, and through a server that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.views.page.chromium import Watched, opened
from tests.views.page.server import WatchServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SCENARIO = """
name = "small"
[data]
name = "phantoms"
train = 480
aux = 600
test = 240
[model]
width = 64
[federation]
rounds = 4
batch_size = 16
[attacker]
margin_db = 60
[[defense]]
name = "none"
[[defense]]
name = "laplace"
scale = 0.5
[[attack]]
name = "ridge"
[[attack]]
name = "decoder"
max_epochs = 6
"""
"""No attack beats the class mean by 60 dB: the undefended cell is INVALID, as a page has to show."""
ROUNDS, CELLS = 4, ("none", "laplace")
RUN_S = 120


@dataclass
class Journey:
    """What was seen while the run went on.

    Attributes:
        run: its directory.
        address: of the server.
        listed: what the front page said of it.
        states: what the page said of its connection, in order.
        tiles: how many reconstructions the wall could show, each time that this changed.
        progress: what the page said of the run, each time that this changed.
        before, after: how many events the page had taken when the server was killed, and in the end.
        accuracy: rows of the page's own table of test accuracies, in the end and after a reload.
        complaints: what the console said, but for the server that was away.
        asked: the hosts that the page asked.
    """

    run: Path
    address: str
    listed: str = ""
    states: list[str] = field(default_factory=list)
    tiles: list[int] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    before: float = 0
    after: float = 0
    accuracy: list[list[str]] = field(default_factory=list)
    reloaded: list[list[str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    @property
    def page(self) -> str:
        """The address of the run's page."""
        return f"{self.address}run/{self.run.name}"

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind that the run has recorded."""
        lines = (self.run / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [event for line in lines if (event := json.loads(line))["event"] == kind]


@contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The run, as a process of its own."""
    (folder / "small.toml").write_text(SCENARIO, encoding="utf-8")
    out = folder / "runs"
    out.mkdir()
    command = [sys.executable, "-m", "splitfed", "scenario", str(folder / "small.toml"), "--out", str(out)]
    with (folder / "run.log").open("wb") as log:
        process = subprocess.Popen([*command, "--live", "none"], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(RUN_S)


def travelled(browser: Browser, folder: Path, server: WatchServer, process: subprocess.Popen[bytes]) -> Journey:
    """Watch the run to its end."""
    with opened(browser, server.address) as watched:
        watched.page.locator("#runs a").wait_for(timeout=RUN_S * 1000)
        (run,) = (folder / "runs").iterdir()
        journey = Journey(run, server.address, listed=watched.text("#runs"))
        watched.page.locator("#runs a").click()
        watched.page.evaluate(RECORDER)
        _until_tiles(watched, process)
        journey.before = watched.number("Number(document.body.dataset.events)")
        _through_a_killed_server(watched, server)
        _end(watched, journey, process)
    return journey


RECORDER = """() => {
  const seen = (window.seen = { states: [], progress: [], tiles: [] });
  const keep = (list, value) => list.at(-1) === value || list.push(value);
  const look = () => {
    keep(seen.states, document.getElementById("connection").textContent);
    keep(seen.progress, document.getElementById("progress").textContent);
    keep(seen.tiles, Number(document.querySelector(".slider input").max));
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def _until_tiles(watched: Watched, process: subprocess.Popen[bytes]) -> None:
    watched.page.locator(".item").first.wait_for(timeout=RUN_S * 1000)
    assert process.poll() is None, "the run was over before the page was open"


def _through_a_killed_server(watched: Watched, server: WatchServer) -> None:
    server.kill()
    watched.page.wait_for_selector('#connection[data-state="lost"]')
    server.start()
    watched.page.wait_for_selector('#connection[data-state="live"]', timeout=RUN_S * 1000)


def _end(watched: Watched, journey: Journey, process: subprocess.Popen[bytes]) -> None:
    watched.until("document.getElementById('connection').textContent === 'complete'", patience_s=RUN_S)
    assert process.wait(RUN_S) == 3, "a run with an INVALID cell ends with 3"
    time.sleep(0.5)  # what the page shows follows what it knows
    journey.after = watched.number("Number(document.body.dataset.events)")
    journey.accuracy = watched.numbers_of("accuracy")
    seen = watched.page.evaluate("window.seen")
    journey.states, journey.progress, journey.tiles = seen["states"], seen["progress"], seen["tiles"]
    journey.asked = set(watched.asked)
    away = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    journey.complaints = [said for said in watched.complaints if not any(sign in said for sign in away)]
    watched.page.reload()
    watched.until("document.getElementById('connection').textContent === 'complete'")
    watched.page.locator('figure[data-name="accuracy"]').wait_for()
    journey.reloaded = watched.numbers_of("accuracy")
