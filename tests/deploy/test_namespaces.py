"""Parties in namespaces: what is open and what is barred, that a breach is noticed, and that nothing stays behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.deploy import check_compose
from tests.deploy.deployment import ROOT
from tests.deploy.world import NoWorld, command_in_world, enter

SMALL = Path(__file__).with_name("small-compose.yml")
DEADLINE_S = 600


def _why_not() -> str:
    try:
        command_in_world([])
    except NoWorld as reason:
        return str(reason)
    return ""


in_a_world = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "namespaces can be made")


def look(case: str, file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.deploy.small_world", case, str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@in_a_world
@pytest.mark.slow
@pytest.mark.parametrize("case", ["apart", "names", "files", "ends"])
def test_parties_have_what_is_theirs_and_nothing_else(case: str) -> None:
    looked = look(case, SMALL)
    assert looked.returncode == 0, looked.stderr


DIGITS = (
    "data.name=digits",
    "data.image_size=8",
    "data.train=480",
    "data.aux=600",
    "data.test=240",
    "model.width=48",
    "federation.rounds=2",
    "attacker.margin_db=0.5",
    'defense=["none"]',
    'attack=["ridge"]',
)
"""Set after `medmnist_split`: one cell, seconds."""


@in_a_world
@pytest.mark.slow
def test_the_services_of_docker_compose_yml_come_to_their_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLITFED_ARGS", shlex.join(word for value in DIGITS for word in ("--set", value)))
    monkeypatch.delenv("SPLITFED_DATA", raising=False)
    looked = look("roles", ROOT / "docker-compose.yml")
    assert looked.returncode == 0, looked.stderr


BREACHES = {
    "a network too many": ("networks: [fleet, tap]", "networks: [fleet, tap, split]", "client-1 reaches the server at"),
    "no way to the relay": ("networks: [fleet, tap]", "networks: [fleet]", "client-1 does not reach the relay"),
    "a folder too many": ('"attacker-state:/state"]', '"attacker-state:/state", "data:/data:ro"]', "'/data'"),
    "a file too many": ("touch /images/auxiliary.npz", "touch /images/auxiliary.npz /images/theirs.npz", "theirs.npz"),
    "one that fails first": ("touch /images/auxiliary.npz", "exit 4", "deal ended with 4"),
    "one that is never well": ("9092/', timeout=2)\"]", "1/')\"]\n      retries: 2", "attacker is not well"),
}


@in_a_world
@pytest.mark.slow
@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_noticed(breach: str, tmp_path: Path) -> None:
    true, broken, says = BREACHES[breach]
    text = SMALL.read_text(encoding="utf-8")
    assert true in text
    file = tmp_path / SMALL.name
    file.write_text(text.replace(true, broken), encoding="utf-8")
    looked = look("apart", file)
    assert looked.returncode == 1
    assert says in looked.stderr


@pytest.fixture
def two_up() -> Iterator[list[subprocess.Popen[str]]]:
    """Two at the same time, both up, each in a process group of its own as in a terminal of its own."""
    command = [sys.executable, "-m", "tests.deploy.small_world", "stays", str(SMALL)]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) for _ in range(2)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=DEADLINE_S)


def _seen_outside() -> list[str]:
    """What of the parties this machine itself knows: bridges, namespaces, mounts."""
    commands = (["ip", "-o", "-br", "link"], ["ip", "netns", "list"], ["cat", "/proc/self/mounts"])
    known = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in commands]
    ours = ("bridge0", "port2.0", "client-1", "/run/splitfed")
    return [line for text in known for line in text.splitlines() if any(name in line for name in ours)]


ENDINGS: dict[str, Callable[[int], None]] = {
    "Ctrl-C": lambda pid: os.killpg(pid, signal.SIGINT),
    "SIGTERM": lambda pid: os.kill(pid, signal.SIGTERM),
    "SIGKILL": lambda pid: os.kill(pid, signal.SIGKILL),
}


@in_a_world
@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_stays_behind_however_it_ends(ending: str, two_up: list[subprocess.Popen[str]]) -> None:
    assert _seen_outside() == []
    trees = [psutil.Process(process.pid).children(recursive=True) for process in two_up]
    assert all(len(tree) > 10 for tree in trees), "the parties of both are among them"
    ENDINGS[ending](two_up[0].pid)
    _, left = psutil.wait_procs(trees[0], timeout=DEADLINE_S)
    assert left == []
    assert two_up[0].wait(DEADLINE_S) != 0
    assert two_up[1].poll() is None, "the other one goes on"
    assert _seen_outside() == []


def test_the_machine_itself_is_never_entered() -> None:
    with pytest.raises(RuntimeError, match="machine's own network"):
        enter()


def test_where_neither_is_possible_it_says_so_and_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_compose.main([]) == 0
    said = capsys.readouterr().out
    assert "NO CONTAINERS ARE CHECKED: no Docker engine answers" in said
    assert "NOR ARE NAMESPACES: " in said
    assert "NOTHING WAS CHECKED" in said


def test_an_unknown_profile_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check_compose.main(["--without-engine", "tsl"])
    assert "invalid choice: 'tsl'" in capsys.readouterr().err
