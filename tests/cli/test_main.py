"""The command line as a user meets it: help, exit codes, messages, and what is imported for what."""

from __future__ import annotations

import subprocess
import sys

import pytest

from splitfed.cli import exit_codes
from splitfed.cli.main import main

NAMED = [
    *("scenario", "scenarios", "defenses", "attacks", "generators", "datasets"),
    *("report", "data", "bench", "attacker", "certs", "doctor"),
]
HEAVY = {
    *("torch", "torchvision", "torchmetrics", "flwr", "grpc", "numpy", "scipy", "sklearn", "skimage", "numba"),
    *("rich", "pydantic", "jinja2", "psutil", "PIL", "cryptography", "importlib.metadata"),
}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([command, "--help"] for command in NAMED)], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom splitfed.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"heavy = {HEAVY!r} & (set(sys.modules) - before)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    assert all(f"\n    {command}" in listed for command in NAMED)


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "splitfed scenario medmnist_split --quick" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["scenario", "medmnist_splt"], "did you mean 'medmnist_split'"),
        (["scenario"], "which scenario?"),
        (["scenario", "medmnist_split", "--set", "data.trian=3"], "did you mean train?"),
        (["scenario", "--resume", "nowhere"], "nowhere is no run"),
        (["report", "nowhere"], "nowhere is no run"),
        (["data", "fetch", "mnits"], "did you mean 'mnist'"),
        (["attacker", "--config", "nowhere.toml"], "cannot read nowhere.toml"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == exit_codes.USER_MISTAKE
    written = capsys.readouterr()
    assert says in written.err
    assert written.err.count("\n") == 1
    assert "Traceback" not in written.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "~nobody-of-this-name/x"], "argument run: ~nobody-of-this-name/x: there is no home directory to"),
        (["report", "runs", "--output", ""], "argument --output: a path is empty"),
    ],
)
def test_a_path_that_means_nothing_is_refused_with_its_option(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == exit_codes.USER_MISTAKE
    assert says in capsys.readouterr().err


def test_a_fault_of_the_machine_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "a" * 300]) == exit_codes.USER_MISTAKE
    written = capsys.readouterr().err
    assert written.startswith("splitfed: aaa")
    assert written.endswith(": File name too long; use a shorter name\n")
