"""`splitfed watch`, and `splitfed scenario --web`: the page is where it says, and costs a run nothing."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from splitfed.cli import exit_codes
from splitfed.views.web import port
from tests.cli.processes import run_cli
from tests.small_scenario import small
from tests.views.web.pages import WAIT_S, Page

ADDRESS = re.compile(r"https?://(\S+):(\d+)/\S*?(\?token=\S+)?$")


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], re.Match[str]]]:
    """The command in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "splitfed", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        address = ADDRESS.search(line.strip())
        assert address is not None, (line, process.communicate(timeout=WAIT_S))
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_S)


def test_a_finished_run_is_shown_until_ctrl_c(finished: Path) -> None:
    with started("watch", str(finished), "--port", "0", "--no-browser") as (process, address):
        page = Page(int(address[2]))
        assert finished.name.encode() in page.get("/").body
        (listed,) = page.get("/api/runs").json
        assert (listed["state"], listed["cells"], listed["of"]) == ("finished", 1, 1)
        told = page.stream(f"/api/runs/{finished.name}/events")
        names = [
            event["event"] for message in told.until("live") if message.event == "history" for event in message.data
        ]
        assert names[0] == "RunStarted"
        assert names[-1] == "RunFinished"
        wall = page.get(f"/api/runs/{finished.name}/wall").json
        assert set(wall["cells"]["none"]) == {"ridge", "untrained", "retrieval", "ridge@TRAIN1"}
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == exit_codes.INTERRUPTED
        told.close()


def test_the_runs_of_a_directory_are_listed(finished: Path) -> None:
    with started("watch", str(finished.parent), "--port", "0", "--no-browser") as (_, address):
        (listed,) = Page(int(address[2])).get("/api/runs").json
        assert listed["id"] == finished.name


def test_other_machines_need_the_token_that_is_printed(finished: Path) -> None:
    with started("watch", str(finished), "--port", "0", "--no-browser", "--host", "0.0.0.0") as (_, address):
        page = Page(int(address[2]))
        assert page.get("/").status == 401
        assert page.get(f"/{address[3]}").status == 303


def test_the_way_there_may_be_another(finished: Path) -> None:
    command = ["watch", str(finished), "--port", "0", "--no-browser", "--host", "0.0.0.0"]
    with started(*command, "--url", "https://127.0.0.1:9/runs") as (process, address):
        assert address[0].startswith("https://127.0.0.1:9/runs/?token=")
        assert process.poll() is None


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", Path(__file__)):
        done = run_cli("watch", str(path), "--no-browser")
        assert done.returncode == exit_codes.USER_MISTAKE
        assert done.stderr.startswith(f"splitfed: {path} is neither a run nor a directory of runs: name one that")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "99999"], "--port 99999: a port is a number from 0 to 65535"),
        (["--host", "203.0.113.1"], "203.0.113.1:8700 cannot be listened on"),
        (["--url", "far.example"], "--url far.example: an address without a query is expected"),
        (["--speed", "0"], "--speed 0.0: a number above 0"),
    ],
)
def test_what_cannot_be_listened_on_is_said(finished: Path, arguments: list[str], message: str) -> None:
    done = run_cli("watch", str(finished), "--no-browser", *arguments)
    assert done.returncode == exit_codes.USER_MISTAKE
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_busy_port_is_said_before_a_run_begins(finished: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        for command in (["watch", str(finished)], ["scenario", small(tmp_path), "--out", str(tmp_path / "runs")]):
            option = "--port" if command[0] == "watch" else "--web"
            done = run_cli(*command, option, number)
            assert done.returncode == exit_codes.USER_MISTAKE
            assert f"127.0.0.1:{number} is busy: another program listens there" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_next_port_is_taken_where_the_first_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(port, "PORT", taken.getsockname()[1])
        with port.listen() as listening:
            assert 0 < listening.getsockname()[1] - taken.getsockname()[1] < port.TRIED_PORTS


def test_a_run_is_shown_while_it_goes_on_and_ends_with_its_page(tmp_path: Path) -> None:
    command = ["scenario", small(tmp_path), "--out", str(tmp_path / "runs"), "--live", "none", "--web", "0"]
    with started(*command) as (process, address):
        page = Page(int(address[2]))
        deadline = time.monotonic() + WAIT_S
        (listed,) = page.get("/api/runs").json  # comes as soon as the run has a directory
        assert (listed["state"], listed["cells"], listed["of"]) == ("running", 0, 1)
        told = page.stream(f"/api/runs/{listed['id']}/events")
        names = {message.event for message in told.until("RunFinished")}
        assert {"live", "ClientProgress", "WireCounted", "RoundFinished", "WallMoment", "WallFinished"} <= names
        assert process.wait(WAIT_S) == exit_codes.OK
        assert time.monotonic() < deadline + 60
        with pytest.raises(EOFError):
            told.until("nothing more")
        told.close()
    with pytest.raises(ConnectionRefusedError):
        page.get("/")


def test_a_run_goes_on_without_its_page(tmp_path: Path) -> None:
    """Whatever kills that; TensorBoard gets its own all the same."""
    import psutil

    command = ["scenario", small(tmp_path), "--out", str(tmp_path / "runs"), "--live", "none", "--web", "0"]
    command += ["--tensorboard", str(tmp_path / "board")]
    with started(*command) as (process, address):
        Page(int(address[2])).get("/api/runs")
        (served,) = [each for each in psutil.Process(process.pid).children() if "watch" in each.cmdline()]
        served.kill()
        served.wait(WAIT_S)
        with pytest.raises(ConnectionRefusedError):
            Page(int(address[2])).get("/")
        _, errors = process.communicate(timeout=60)
    assert process.returncode == exit_codes.OK
    assert "the page ended early with -9" in errors
    assert list((tmp_path / "board").glob("small-*/none/events.out.tfevents.*"))
