"""The command line as a user meets it: exit codes, messages, and what is imported for what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from splitfed import cli
from splitfed.defenses import DEFENSES


def run_cli(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a user starts it."""
    command = [sys.executable, "-m", "splitfed", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)  # type: ignore[call-overload,no-any-return]


SMALL = """
name = "small"
[data]
name = "digits"
train = 480
aux = 600
test = 240
[model]
width = 48
[federation]
rounds = {rounds}
batch = 32
[attacker]
margin_db = {margin_db}
[[defense]]
name = "none"
[[attack]]
name = "ridge"
"""


def small(folder: Path, *, rounds: int = 2, margin_db: float = 1.0) -> str:
    file = folder / "small.toml"
    file.write_text(SMALL.format(rounds=rounds, margin_db=margin_db))
    return str(file)


@pytest.mark.parametrize("arguments", [["--help"], ["scenario", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom splitfed.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'flwr', 'grpc', 'numpy', 'rich', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
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
    assert cli.main(arguments) == cli.USER_MISTAKE
    written = capsys.readouterr()
    assert says in written.err
    assert written.err.count("\n") == 1
    assert "Traceback" not in written.err


def test_listings_name_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, names in (
        ("defenses", sorted(DEFENSES)),
        ("attacks", ["ridge", "decoder", "adaptive:"]),
        ("scenarios", ["medmnist_split"]),
        ("datasets", ["medical_mnist", "phantoms", "digits"]),
    ):
        assert cli.main([kind]) == cli.OK
        out = capsys.readouterr().out
        assert all(name in out for name in names)


def test_a_scenario_ends_with_a_table_and_a_run_directory(tmp_path: Path) -> None:
    done = run_cli("scenario", small(tmp_path), "--out", str(tmp_path / "runs"))
    assert done.returncode == cli.OK, done.stderr
    assert "accuracy" in done.stdout
    assert "class mean" in done.stdout
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert {"manifest.json", "events.jsonl", "results.json", "report.html", "images"} <= {
        path.name for path in run_dir.iterdir()
    }
    for kind, mark in (("md", "|"), ("csv", ","), ("latex", "tabular"), ("json", '"schema"')):
        shown = run_cli("report", str(run_dir), "--format", kind)
        assert shown.returncode == cli.OK
        assert mark in shown.stdout


def test_a_cell_that_fails_a_gate_is_marked_and_exits_with_3(tmp_path: Path) -> None:
    done = run_cli("scenario", small(tmp_path, margin_db=90), "--out", str(tmp_path / "runs"), "--live", "none")
    assert done.returncode == cli.INVALID, done.stderr
    assert "INVALID" in done.stdout
    assert "attack_beats_class_mean" in done.stdout


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "splitfed", "scenario", small(tmp_path, rounds=500), "--out", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_round(runs, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED, errors
    (run_dir,) = runs.iterdir()
    assert f"splitfed scenario --resume {run_dir}" in errors
    assert "Traceback" not in errors
    assert not attackers_of(run_dir)


def wait_for_round(runs: Path, process: subprocess.Popen[str]) -> None:
    """Until the first round of the only run is over."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        logs = list(runs.glob("*/events.jsonl"))
        if logs and any(json.loads(line)["event"] == "RoundFinished" for line in whole_lines(logs[0])):
            return
        time.sleep(0.05)
    raise AssertionError(f"no round was finished; exit code {process.poll()}")


def whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def attackers_of(run_dir: Path) -> list[str]:
    """Command lines of processes that still work on this run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "attacker" in command and run_dir.name in command and entry.parent.name != str(os.getpid()):
            found.append(command)
    return found


def test_seeds_repeat_every_cell_and_are_summed_up(tmp_path: Path) -> None:
    done = run_cli("scenario", small(tmp_path, rounds=1), "--seeds", "2", "--out", str(tmp_path / "runs"))
    assert done.returncode in (cli.OK, cli.INVALID), done.stderr
    (stored,) = (tmp_path / "runs").glob("*/results.json")
    results = json.loads(stored.read_text())
    assert [cell["seed"] for cell in results["cells"]] == [0, 1]
    (entry,) = results["summary"]
    values = [cell["accuracy"] for cell in results["cells"]]
    assert entry["over_seeds"]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)
    assert entry["over_seeds"]["accuracy"]["n"] == 2
    assert "standard deviation over 2 seeds" in " ".join(done.stdout.split())
