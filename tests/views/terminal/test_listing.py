"""Listings: columns for people, whole lines for programs."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from splitfed.views.terminal.listing import show

ROWS = [("short", "[bold] and {curly} stay as they are"), ("much_longer", "word " * 30)]


def test_a_pipe_gets_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "short        [bold] and {curly} stay as they are"
    assert second.startswith("much_longer  word word")


def test_a_terminal_gets_columns_of_its_own_width() -> None:
    ours, theirs = pty.openpty()
    code = f"from splitfed.views.terminal.listing import show\nshow({ROWS!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=theirs,
        env={**os.environ, "COLUMNS": "60", "NO_COLOR": "1", "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        assert process.wait(60) == 0
        lines = re.sub(r"\x1b\[\d*m", "", os.read(ours, 65536).decode()).splitlines()
    os.close(ours)
    assert len(lines) > 3
    assert max(map(len, lines)) <= 60
    assert any("[bold] and {curly} stay as they are" in line for line in lines)


def test_nothing_to_list_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    show([])
    assert capsys.readouterr().out == ""
