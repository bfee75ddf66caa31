"""A role as a process: it says when it is ready, and stops when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.roles.conftest import free_address, running_superlink

STOPS_S = 10


@contextmanager
def client(folder: Path, superlink: str, health: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    config = folder / "client.toml"
    config.write_text(f'superlink = "{superlink}"\nhealth = "{health}"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "splitfed", "client", "--config", str(config), *more],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()


def health_of(address: str) -> int | None:
    try:
        straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever another test has said
        with straight.open(f"http://{address}/health", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def until(address: str, status: int) -> None:
    deadline = time.monotonic() + 60
    while health_of(address) != status:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_is_ready_once_it_is_registered_and_stops_on_sigterm(tmp_path: Path) -> None:
    superlink, health = free_address(), free_address()
    with client(tmp_path, superlink, health, "--log", "json") as process:
        until(health, 503)
        with running_superlink(superlink, tmp_path):
            until(health, 200)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=STOPS_S)
        assert time.monotonic() - began < STOPS_S
        assert process.returncode == 0
        lines = [json.loads(line) for line in log.splitlines()]
        assert all(line["role"] == "client-any" for line in lines)
        assert [line["message"].partition(":")[0] for line in lines if line["level"] == "info"][-2:] == [
            "ready",
            "stopped",
        ]


def test_it_stops_with_whoever_holds_its_pipe(tmp_path: Path) -> None:
    health = free_address()
    with client(tmp_path, free_address(), health, "--ends-with", "0") as process:
        until(health, 503)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(STOPS_S) == 0


@pytest.mark.parametrize("role", ["server", "client", "attacker"])
def test_a_mistake_in_its_file_is_one_message(tmp_path: Path, role: str) -> None:
    config = tmp_path / "role.toml"
    config.write_text('superlink = "nowhere"\nauxiliary = "a.npz"\n')
    command = [sys.executable, "-m", "splitfed", role, "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})
    assert ended.returncode == 2
    assert "superlink = 'nowhere'" in ended.stderr
    assert "Traceback" not in ended.stderr
