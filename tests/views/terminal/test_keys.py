"""Keys are heard one by one from a real terminal, which is afterwards as it was before."""

from __future__ import annotations

import os
import pty
import queue
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest

from splitfed.views.terminal import keys
from splitfed.views.terminal.keys import Keys

WAIT_S = 10.0

ALONE = """
import os, pty, sys, termios, time
from splitfed.views.terminal.keys import Keys
heard = []
before = termios.tcgetattr(0)
with Keys(heard.append) as keys:
    print("there" if keys.there else "none", flush=True)
    deadline = time.monotonic() + 10
    while len(heard) < 3 and keys.there and time.monotonic() < deadline:
        time.sleep(0.01)
print("".join(heard), termios.tcgetattr(0) == before, flush=True)
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: who sits there, and the program."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def test_a_program_in_the_foreground_hears_each_key_without_enter() -> None:
    """A process of its own, whose controlling terminal this is."""
    child, person = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", ALONE])
    said = b""
    while b"there" not in said:
        said += os.read(person, 1000)
    os.write(person, b"caf")
    while b"True" not in said and b"False" not in said:
        said += os.read(person, 1000)
    os.waitpid(child, 0)
    os.close(person)
    assert b"caf True" in said


def test_a_program_in_the_background_changes_nothing(terminal: tuple[int, int]) -> None:
    """It is not this terminal's: it would be stopped."""
    _, program = terminal
    before = termios.tcgetattr(program)
    with Keys(pytest.fail, program) as heard:
        assert not heard.there
        assert termios.tcgetattr(program) == before


def test_a_terminal_that_goes_away_ends_the_hearing(terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_in_foreground", lambda _: True)
    person, program = os.dup(terminal[0]), terminal[1]
    heard: queue.Queue[str] = queue.Queue()
    with Keys(heard.put, program) as hearing:
        assert hearing.there
        os.write(person, b"c")
        assert heard.get(timeout=WAIT_S) == "c"
        os.close(person)
        hearing._reader.join(WAIT_S)
        assert not hearing._reader.is_alive()
    os.close(program)


def test_where_nobody_sits_there_are_no_keys() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE.replace("termios.tcgetattr(0)", "None")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    )
    assert done.stdout.splitlines()[0] == "none"
