"""A SuperLink of Flower's, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from splitfed.roles.server import PLAIN, program, superlink_answers


def free_address() -> str:
    """Nobody listens there now."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return f"127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def running_superlink(address: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A SuperLink that keeps its state in memory."""
    port = address.rpartition(":")[2]
    command = [program("flower-superlink"), "--insecure", "--isolation", "process", "--port", port]
    command += ["--disable-runtime-dependency-installation"]
    with (folder / "superlink.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=log, stderr=log, env={**os.environ, **PLAIN, "FLWR_HOME": str(folder)}
        )
    try:
        deadline = time.monotonic() + 60
        while not superlink_answers(address, None):
            assert process.poll() is None, (folder / "superlink.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[str]:
    """The address of one that runs."""
    address = free_address()
    with running_superlink(address, tmp_path):
        yield address
