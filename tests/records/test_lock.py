"""One process at a time: a second one is told who holds the lock, and a kill frees it."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from splitfed.errors import UserError
from splitfed.records.lock import is_held, locked

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom splitfed.records.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
)


@contextmanager
def held_elsewhere(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds this lock until its standard input closes."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_second_process_is_told_who_holds_it_and_since_when(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "lock") as other:
        with pytest.raises(UserError) as refusal, locked(tmp_path / "lock"):
            pass
        said = str(refusal.value)
        assert said.startswith(f"{tmp_path} is in use by process {other.pid} on {platform.node()} since 2")
        assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d: wait until", said)
        assert json.loads((tmp_path / "lock").read_text())["pid"] == other.pid


def test_it_is_free_once_its_holder_has_ended_or_was_killed(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock") as alone:
        assert alone
    with held_elsewhere(tmp_path / "lock") as other:
        other.kill()
        other.wait(timeout=60)
        with locked(tmp_path / "lock") as alone:
            assert alone
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_processes_that_the_holder_starts_do_not_keep_it(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child, locked(tmp_path / "lock") as alone:
        assert child.poll() is None
        assert alone
        child.communicate(b"\n", timeout=60)


def test_a_holder_that_has_only_just_begun_has_no_name_yet(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        (tmp_path / "lock").write_text("")
        with pytest.raises(UserError, match="is in use by another process: wait"), locked(tmp_path / "lock"):
            pass


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"cannot write .*/nowhere/lock: No such file"),
        locked(tmp_path / "nowhere/lock"),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_on_a_file_system_without_locks_nothing_is_held_and_the_work_goes_on(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "run.lock") as held:
        assert not held


def test_whether_it_is_held_is_seen_without_taking_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock), "there is none"
    with held_elsewhere(lock):
        assert is_held(lock)
        assert is_held(lock)
    assert not is_held(lock)
    lock.chmod(0o400)
    assert not is_held(lock)


def test_who_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    lock, over = tmp_path / "lock", threading.Event()
    lock.touch()

    def look() -> None:
        while not over.is_set():
            is_held(lock)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            with locked(lock) as alone:
                assert alone
    finally:
        over.set()
        looking.join()
