"""A server of the live view as a user starts it, and what it takes and gives."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psutil

from splitfed.errors import SplitfedError
from splitfed.runners import child

WAIT_S = 60.0
SAMPLE_S = 0.02
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/")


class Opened(NamedTuple):
    """A run's events as a page gets them: seconds until it is live, and how many events it was told."""

    live_s: float
    events: int


class Served:
    """Talks to a server of the live view on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def address(self, run: str = "") -> str:
        """What a browser opens: the front page, or that of a run."""
        return f"http://127.0.0.1:{self.port}/" + (f"run/{quote(run)}" if run else "")

    def runs(self) -> list[dict[str, Any]]:
        """The runs that it lists."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        connection.request("GET", "/api/runs")
        found: list[dict[str, Any]] = json.loads(connection.getresponse().read())
        connection.close()
        return found

    def open(self, run: str) -> Opened:
        """Read what there is of a run, up to the present."""
        started, told = time.monotonic(), 0
        for name, data in self.messages(run):
            told += len(json.loads(data)) if name == "history" else 0
            if name == "live":
                break
        return Opened(time.monotonic() - started, told)

    def messages(self, run: str) -> Iterator[tuple[str, bytes]]:
        """The events of a run as they come, without end: name and data."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request("GET", f"/api/runs/{quote(run)}/events")
            answer, name = connection.getresponse(), ""
            while line := answer.readline():
                if line.startswith(b"event: "):
                    name = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    yield name, line[6:]
        finally:
            connection.close()


@contextmanager
def served(path: Path) -> Iterator[tuple[Served, psutil.Process]]:
    """`splitfed watch` over this directory, and its process."""
    command = child.arguments("watch", str(path), "--port", "0", "--no-browser")
    with started(command) as (process, port):
        yield Served(port), psutil.Process(process.pid)
        process.terminate()


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A command of splitfed's in a process of its own, and the port that it prints first.

    Raises:
        SplitfedError: it printed none.
    """
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=child.environment(),
    )
    try:
        assert process.stdout is not None
        address = ADDRESS.search(process.stdout.readline())
        if address is None:
            raise SplitfedError(f"{' '.join(command[2:4])} did not say where it listens")
        yield process, int(address[1])
        process.communicate(timeout=WAIT_S * 10)
    finally:
        process.kill()
        process.wait()


class PeakMemory:
    """The most that a process held while the block went on; a context manager."""

    def __init__(self, process: psutil.Process) -> None:
        self.bytes = 0
        self._process = process
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._sampler.join()

    def _sample(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while True:
                self.bytes = max(self.bytes, self._process.memory_info().rss)
                if self._over.wait(SAMPLE_S):
                    return
