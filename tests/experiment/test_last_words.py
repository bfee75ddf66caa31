"""What a process's log says of its end, on logs that real processes leave."""

from __future__ import annotations

import subprocess
import sys

import pytest

from splitfed.experiment.last_words import exit_in_words, last_words


def log_of(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    return done.stderr


CHAINED = """
import sys
print("numba: a warning", file=sys.stderr)
try:
    {}["front"]
except KeyError as error:
    raise RuntimeError("Error(s) in loading state_dict:\\n\\tsize mismatch for body.0.weight") from error
"""


def test_of_a_traceback_the_exception_is_quoted() -> None:
    said = last_words(log_of("-c", CHAINED))
    assert said == "RuntimeError: Error(s) in loading state_dict:; size mismatch for body.0.weight"


def test_of_a_missing_module_its_name_is_quoted() -> None:
    assert last_words(log_of("-m", "no_such_module")).endswith("No module named no_such_module")


def test_of_a_fatal_error_the_first_lines_are_quoted() -> None:
    said = last_words(log_of("-c", "", PYTHONHOME="/nowhere"))
    assert said.startswith("Fatal Python error: init_fs_encoding")
    assert "No module named 'encodings'" in said
    assert "no Python frame" not in said


def test_of_a_crash_the_place_is_quoted() -> None:
    said = last_words(log_of("-X", "faulthandler", "-c", "import ctypes; ctypes.string_at(0)"))
    assert said.startswith("Fatal Python error: Segmentation fault; File ")


def test_a_message_to_the_user_is_quoted_whole() -> None:
    log = "a warning\nsplitfed: attacker.json: threads = 0: too few\nattacker.json: width is missing\n"
    assert last_words(log) == "attacker.json: threads = 0: too few; attacker.json: width is missing"


def test_what_python_ignored_at_its_end_is_no_reason() -> None:
    ignored = "Exception ignored in: <stdout>\nTraceback (most recent call last):\nBrokenPipeError: [Errno 32]\n"
    raised = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: no\n'
    assert last_words(raised + ignored) == "ValueError: no"


@pytest.mark.parametrize(("log", "says"), [("", ""), ("\n\n", ""), ("one\ntwo\n\n", "two")])
def test_of_anything_else_the_last_line(log: str, says: str) -> None:
    assert last_words(log) == says


def test_a_long_message_is_cut() -> None:
    assert last_words("splitfed: 0\n" + "\n".join(map(str, range(1, 100)))) == "0; 1; 2; 3; 4; 5; ..."


def test_how_a_process_ended_in_words() -> None:
    assert [exit_in_words(code) for code in (1, -9, -6, -11)] == ["exit status 1", "SIGKILL", "SIGABRT", "SIGSEGV"]
