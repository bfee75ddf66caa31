"""The command line as a user meets it: exit codes, messages, and what is imported for what."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import splitfed
from splitfed.cli import main as cli
from splitfed.cli.doctor import checks_of
from splitfed.defenses import DEFENSES
from splitfed.records.store import RunStore
from tests.small_scenario import small


def run_cli(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a user starts it."""
    command = [sys.executable, "-m", "splitfed", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("arguments", [["--help"], ["scenario", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom splitfed.cli.main import main\n"
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
        ("attacks", ["ridge", "decoder", "Against noise:"]),
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
    assert done.stdout.endswith(" kB in all\n")
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
    others = (process for process in psutil.process_iter(["cmdline"]) if process.pid != os.getpid())
    commands = (" ".join(process.info["cmdline"] or []) for process in others)
    return [command for command in commands if "attacker" in command and run_dir.name in command]


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
    assert done.returncode in (cli.OK, cli.INVALID), done.stderr
    (run,) = (home / "here").iterdir()
    shown = run_cli("report", f"~/here/{run.name}", "--output=~/page.html")
    assert (shown.returncode, shown.stdout) == (cli.OK, f"{home}/page.html\n")
    assert {path.name for path in home.iterdir()} == {"images", "here", "small.toml", "page.html"}


def test_the_same_holds_from_python(home: Path) -> None:
    small(home, rounds=1, margin_db=0.0)
    done = splitfed.run(splitfed.load("~/small.toml"), out="~/here", data_root="~")
    assert len(done.results.cells) == 1
    (run,) = (home / "here").iterdir()
    assert done.path == run
    assert splitfed.run(splitfed.load("~/small.toml"), resume=f"~/here/{run.name}").results == done.results


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
        cli.main(arguments)
    assert end.value.code == cli.USER_MISTAKE
    assert says in capsys.readouterr().err


def test_doctor_works_without_a_home_directory() -> None:
    code = (
        "import pwd, sys\ndef nobody(number): raise KeyError(number)\npwd.getpwuid = nobody\n"
        "from splitfed.cli.main import main\nsys.exit(main(['doctor']))"
    )
    hidden = ("HOME", "SPLITFED_CACHE", "SPLITFED_DATA")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == cli.OK, done.stdout
    assert done.stderr == ""
    assert f"splitfed-{os.getuid()}" in done.stdout  # the folder that stands in for the home's


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_is_a_file_is_refused_before_anything_is_loaded(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    done = run_cli("scenario", small(tmp_path), "--out", str(tmp_path / place), "--set", "data.path=/nowhere")
    assert done.returncode == cli.USER_MISTAKE
    assert done.stderr.startswith(f"splitfed: cannot write into {tmp_path / place}: ")
    assert done.stderr.endswith("name another place with --out\n")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("finished")
    done = run_cli("scenario", small(folder, rounds=1, margin_db=0.0), "--out", str(folder), "--live", "none")
    assert done.returncode in (cli.OK, cli.INVALID), done.stderr
    (run,) = folder.glob("small-*")
    return run


def test_a_report_that_cannot_be_written_says_where_it_could_be(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run")
    (copied / "report.html").unlink()
    (copied / "report.html").mkdir()
    done = run_cli("report", str(copied))
    assert done.returncode == cli.USER_MISTAKE
    where = f"splitfed: cannot write {copied}/report.html: Is a directory; "
    assert done.stderr.startswith(where)
    assert done.stderr.endswith("name another place with --output FILE\n")
    for form, mark in (("html", "<!doctype html>"), ("md", "| defense"), ("json", '"schema"')):
        target = tmp_path / f"report.{form}"
        shown = run_cli("report", str(copied), "--format", form, "--output", str(target))
        assert (shown.returncode, shown.stdout) == (cli.OK, f"{target}\n"), shown.stderr
        assert mark in target.read_text(encoding="utf-8")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_that_can_only_be_read_is_reported_on_elsewhere(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run")
    copied.chmod(0o500)
    try:
        refused = run_cli("report", str(copied))
        assert refused.returncode == cli.USER_MISTAKE
        assert "Permission denied; give this user access to it, or name another place with --output" in refused.stderr
        assert run_cli("report", str(copied), "--output", str(tmp_path / "page.html")).returncode == cli.OK
    finally:
        copied.chmod(0o700)


def test_a_run_without_pictures_is_left_as_it_is(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("images", "report.html"))
    before = {path.name for path in copied.iterdir()}
    assert run_cli("report", str(copied), "--output", str(tmp_path / "page.html")).returncode == cli.OK
    assert {path.name for path in copied.iterdir()} == before


def test_a_run_without_results_says_so_in_every_format(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("results.json"))
    for form in ("html", "json", "md"):
        done = run_cli("report", str(copied), "--format", form)
        assert done.returncode == cli.USER_MISTAKE
        assert "has no results.json yet" in done.stderr


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
    assert done.returncode == cli.USER_MISTAKE, done.stderr
    (run,) = runs.iterdir()
    assert "File too large; raise the limit" in done.stderr
    assert str(run) in done.stderr
    assert f"go on with: splitfed scenario --resume {run}" in done.stderr
    assert "Traceback" not in done.stderr
    resumed = run_cli("scenario", "--resume", str(run), "--live", "none")
    assert resumed.returncode in (cli.OK, cli.INVALID), resumed.stderr


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


def test_a_run_is_private_and_what_is_written_elsewhere_is_not(finished: Path, tmp_path: Path) -> None:
    assert modes(finished) == {0o700, 0o600}
    before = os.umask(0o022)
    try:
        for form in ("html", "md"):
            assert run_cli("report", str(finished), "--format", form, "--output", str(tmp_path / form)).returncode == 0
    finally:
        os.umask(before)
    assert [(tmp_path / form).stat().st_mode & 0o777 for form in ("html", "md")] == [0o644, 0o644]


def test_a_run_can_be_shared_when_it_is_started(tmp_path: Path) -> None:
    command = ["scenario", small(tmp_path, rounds=1, margin_db=0.0), "--out", str(tmp_path / "runs"), "--live", "none"]
    done = run_cli(*command, "--share", umask=0o027)
    assert done.returncode in (cli.OK, cli.INVALID), done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert modes(run) == {0o750, 0o640}
    refused = run_cli("scenario", "--resume", str(run), "--share")
    assert refused.returncode == cli.USER_MISTAKE
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
    assert second.returncode == cli.USER_MISTAKE
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
    assert cli.main(["scenario", "--resume", str(tmp_path)]) == cli.USER_MISTAKE
    assert says in capsys.readouterr().err


def test_doctor_says_what_runs_take(finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert not [check for check in checks_of(None) if check.name.startswith("runs")]
    shutil.copytree(finished, tmp_path / "runs" / finished.name)
    (check,) = [check for check in checks_of(None) if check.name.startswith("runs")]
    assert check.found.endswith(f"kB in {finished.name}")
    assert "kB in 1, of that" in check.found


def test_a_fault_of_the_machine_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "a" * 300]) == cli.USER_MISTAKE
    written = capsys.readouterr().err
    assert written.startswith("splitfed: aaa")
    assert written.endswith(": File name too long; use a shorter name\n")
