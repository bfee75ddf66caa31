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
[attacker]
margin_db = 0.0
[[defense]]
name = "none"
[[attack]]
name = "ridge"
"""
MOST_S = 600.0
"""That a run may take."""


class Watched(NamedTuple):
    """A run that is over: seconds that its training took, and until a page that was opened meanwhile was painted."""

    train_s: float
    first_paint_s: float | None


def scenario(folder: Path, *, train: int, rounds: int) -> Path:
    """Write what is run; its file."""
    file = folder / "page.toml"
    file.write_bytes(SCENARIO.format(train=train, rounds=rounds).encode())
    return file


def alone(file: Path, out: Path) -> Watched:
    """A run at which nobody looks."""
    command = child.arguments("scenario", str(file), "--out", str(out), "--live", "none")
    subprocess.run(
        [sys.executable, *command],
        env=child.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=MOST_S,
        check=False,
    )
    return Watched(_train_s(out), None)


def watched(file: Path, out: Path, browser: Browser | None) -> Watched:
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
    return Watched(_train_s(out), painted)


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
