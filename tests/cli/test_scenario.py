"""`splitfed scenario`: what a run leaves, how it ends, how it is gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import splitfed
from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.records.store import RunStore
from tests.cli.processes import attackers_of, modes, run_cli, wait_for_round
from tests.small_scenario import small


def test_a_scenario_ends_with_a_table_and_a_run_directory(tmp_path: Path) -> None:
    done = run_cli("scenario", small(tmp_path), "--out", str(tmp_path / "runs"))
    assert done.returncode == exit_codes.OK, done.stderr
    assert "accuracy" in done.stdout
    assert "class mean" in done.stdout
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert {"manifest.json", "events.jsonl", "results.json", "report.html", "images"} <= {
        path.name for path in run_dir.iterdir()
    }
    *_, size, watch = done.stdout.splitlines()
    assert size.endswith(" MB in all")  # the report brings its library
    assert watch.startswith("In a browser: splitfed watch ")
    for kind, mark in (("md", "|"), ("csv", ","), ("latex", "tabular"), ("json", '"schema"')):
        shown = run_cli("report", str(run_dir), "--format", kind)
        assert shown.returncode == exit_codes.OK
        assert mark in shown.stdout


def test_a_cell_that_fails_a_gate_is_marked_and_exits_with_3(tmp_path: Path) -> None:
    done = run_cli("scenario", small(tmp_path, margin_db=90), "--out", str(tmp_path / "runs"), "--live", "none")
    assert done.returncode == exit_codes.INVALID, done.stderr
    assert "INVALID" in done.stdout
    assert "attack_beats_class_mean" in done.stdout


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "splitfed", "scenario", small(tmp_path, rounds=500), "--out", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_round(runs, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == exit_codes.INTERRUPTED, errors
    (run_dir,) = runs.iterdir()
    assert f"splitfed scenario --resume {run_dir}" in errors
    assert "Traceback" not in errors
    assert not attackers_of(run_dir)


def test_seeds_repeat_every_cell_and_are_summed_up(tmp_path: Path) -> None:
    done = run_cli("scenario", small(tmp_path, rounds=1), "--seeds", "2", "--out", str(tmp_path / "runs"))
    assert done.returncode in (exit_codes.OK, exit_codes.INVALID), done.stderr
    (stored,) = (tmp_path / "runs").glob("*/results.json")
    results = json.loads(stored.read_text())
    assert [cell["seed"] for cell in results["cells"]] == [0, 1]
    (entry,) = results["summary"]
    values = [cell["accuracy"] for cell in results["cells"]]
    assert entry["over_seeds"]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)
    assert entry["over_seeds"]["accuracy"]["n"] == 2
    assert "standard deviation over 2 seeds" in " ".join(done.stdout.split())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of this test's own, in which commands run too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_tilde_is_the_home_directory_for_every_path(home: Path, jobs: str) -> None:
    (home / "images").mkdir()
    scenario = small(home, rounds=1, margin_db=0.0)
    done = run_cli("scenario", scenario, "--out=~/here", "--data-root=~/images", "--jobs", jobs, "--live", "none")
    assert done.returncode in (exit_codes.OK, exit_codes.INVALID), done.stderr
    (run,) = (home / "here").iterdir()
    shown = run_cli("report", f"~/here/{run.name}", "--output=~/page.html")
    assert (shown.returncode, shown.stdout) == (exit_codes.OK, f"{home}/page.html\n")
    assert {path.name for path in home.iterdir()} == {"images", "here", "small.toml", "page.html"}


def test_the_same_holds_from_python(home: Path) -> None:
    small(home, rounds=1, margin_db=0.0)
    done = splitfed.run(splitfed.load("~/small.toml"), out="~/here", data_root="~")
    assert len(done.results.cells) == 1
    (run,) = (home / "here").iterdir()
    assert done.path == run
    assert splitfed.run(splitfed.load("~/small.toml"), resume=f"~/here/{run.name}").results == done.results


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_is_a_file_is_refused_before_anything_is_loaded(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    done = run_cli("scenario", small(tmp_path), "--out", str(tmp_path / place), "--set", "data.path=/nowhere")
    assert done.returncode == exit_codes.USER_MISTAKE
    assert done.stderr.startswith(f"splitfed: cannot write into {tmp_path / place}: ")
    assert done.stderr.endswith("name another place with --out\n")
    assert done.stderr.count("\n") == 1


def test_a_disk_that_is_full_ends_a_run_with_one_message_and_it_can_go_on(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    code = (
        "import resource, sys\nfrom splitfed.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["scenario", small(tmp_path, rounds=3), "--out", str(runs), "--live", "none"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == exit_codes.USER_MISTAKE, done.stderr
    (run,) = runs.iterdir()
    assert "File too large; raise the limit" in done.stderr
    assert str(run) in done.stderr
    assert f"go on with: splitfed scenario --resume {run}" in done.stderr
    assert "Traceback" not in done.stderr
    resumed = run_cli("scenario", "--resume", str(run), "--live", "none")
    assert resumed.returncode in (exit_codes.OK, exit_codes.INVALID), resumed.stderr


def test_a_run_can_be_shared_when_it_is_started(tmp_path: Path) -> None:
    command = ["scenario", small(tmp_path, rounds=1, margin_db=0.0), "--out", str(tmp_path / "runs"), "--live", "none"]
    done = run_cli(*command, "--share", umask=0o027)
    assert done.returncode in (exit_codes.OK, exit_codes.INVALID), done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert modes(run) == {0o750, 0o640}
    refused = run_cli("scenario", "--resume", str(run), "--share")
    assert refused.returncode == exit_codes.USER_MISTAKE
    assert f"chmod -R go+rX {run}" in refused.stderr


def test_two_processes_do_not_resume_one_run(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "splitfed", "scenario", small(tmp_path, rounds=500), "--out", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_round(runs, process)
        (run,) = runs.iterdir()
        second = run_cli("scenario", "--resume", str(run), "--live", "none")
        assert process.poll() is None
        process.kill()
        process.communicate(timeout=60)
    assert second.returncode == exit_codes.USER_MISTAKE
    assert second.stderr.startswith(f"splitfed: {run} is in use by process {process.pid} on ")
    assert second.stderr.count("\n") == 1
    with RunStore.open(run).running() as alone:  # a kill frees it
        assert alone


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ("", "manifest.json is damaged: "),
        ("[]", "manifest.json is damaged or of another version"),
        ("{}", "scenario: Field required"),
        ('{"scenario": {"name": "a"}}', "manifest.json is damaged or of another version"),
    ],
)
def test_a_damaged_manifest_is_no_bug(
    tmp_path: Path, manifest: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    assert main(["scenario", "--resume", str(tmp_path)]) == exit_codes.USER_MISTAKE
    assert says in capsys.readouterr().err
