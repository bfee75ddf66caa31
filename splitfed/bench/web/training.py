"""A run with a page open on it, and the same without."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from splitfed.bench.web.browser import Browser, Page
from splitfed.bench.web.served import Served, started
from splitfed.errors import SplitfedError
from splitfed.files import write_whole
from splitfed.runners import child

SCENARIO = """
name = "page"
[data]
name = "phantoms"
train = {train}
aux = 1000
test = 300
[federation]
clients = 3
rounds = {rounds}
batch_size = 32
[attacker]
margin_db = 0.0
[[defense]]
name = "none"
[[attack]]
name = "ridge"
"""
FINISHED = (0, 3)
"""Exit codes of a run that has results; whether these are valid is not what is measured."""
MOST_S = 600.0
"""That a run may take."""


class WatchedRun(NamedTuple):
    """A run that is over: seconds that its training took, and until a page that was opened meanwhile was painted."""

    train_s: float
    first_paint_s: float | None


def scenario(folder: Path, *, train: int, rounds: int) -> Path:
    """Write what is run; its file."""
    file = folder / "page.toml"
    write_whole(file, SCENARIO.format(train=train, rounds=rounds).encode())
    return file


def alone(file: Path, out: Path) -> WatchedRun:
    """A run at which nobody looks."""
    command = child.arguments("scenario", str(file), "--out", str(out), "--live", "none")
    done = subprocess.run(
        [sys.executable, *command],
        env=child.environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=MOST_S,
        check=False,
    )
    if done.returncode not in FINISHED:
        raise SplitfedError(f"the run ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return WatchedRun(_train_s(out), None)


def watched(file: Path, out: Path, browser: Browser | None) -> WatchedRun:
    """A run with a page open on it, as soon as it trains and for as long as it goes on.

    Without a browser something reads the events as a page does, and draws nothing.
    """
    command = child.arguments("scenario", str(file), "--out", str(out), "--live", "none", "--web", "0")
    painted = None
    with started(command) as (process, port):
        server = Served(port)
        run = _training(server)
        with ExitStack() as held:
            if browser is None:
                held.enter_context(_reading(server, run))
                process.wait(MOST_S)
            else:
                page: Page = held.enter_context(browser.page(server.address()))
                painted = page.first_paint_s()
                while process.poll() is None:
                    page.stay(0.5)
    return WatchedRun(_train_s(out), painted)


def _training(server: Served) -> str:
    """The run, once its clients train."""
    (listed,) = server.runs()
    run = str(listed["id"])
    for name, data in server.messages(run):
        if name == "ClientProgress" or b'"ClientProgress"' in data:
            return run
    raise SplitfedError("the run ended before it trained")


@contextmanager
def _reading(server: Served, run: str) -> Iterator[None]:
    def read() -> None:
        with suppress(OSError):
            for _ in server.messages(run):
                pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    yield


def _train_s(out: Path) -> float:
    (results,) = out.glob("*/results.json")
    (cell,) = json.loads(results.read_bytes())["cells"]
    return float(cell["train_s"])
