"""Text on its way out: any locale, streams that are closed, readers that leave, disks that are full."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import splitfed
from splitfed.cli import exit_codes, output
from tests.small_scenario import small

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
LATIN = {"PYTHONIOENCODING": "latin-1"}
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def encoded(settings: dict[str, str], *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """A process whose locale knows few characters."""
    command = [sys.executable, "-m", "splitfed", *arguments]
    env = {**{k: v for k, v in os.environ.items() if k not in ("PYTHONIOENCODING", "LANG")}, **settings}
    return subprocess.run(command, capture_output=True, timeout=120, check=False, env=env, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was made, shown and finished where neither locale nor terminal knows an arrow."""
    folder = tmp_path_factory.mktemp("latin")
    arguments = ["scenario", small(folder, rounds=1, margin_db=0.0), "--set", 'name="λ ≥ 1"']
    done = encoded(LATIN, *arguments, "--out", str(folder / "runs"))
    assert done.returncode in (exit_codes.OK, exit_codes.INVALID), done.stderr.decode("latin-1")
    shown = done.stdout.decode("latin-1")
    assert "accu-" in shown
    assert "racy ^" in shown
    assert "±" in shown  # latin-1 has this one
    (run,) = (folder / "runs").iterdir()
    return run


@pytest.mark.parametrize("settings", [ASCII, LATIN], ids=["ascii", "latin-1"])
@pytest.mark.parametrize(
    "arguments", [["datasets"], ["defenses"], ["attacks"], ["scenarios"], ["doctor"], ["--help"]], ids=" ".join
)
def test_every_listing_can_be_printed_in_any_locale(settings: dict[str, str], arguments: list[str]) -> None:
    done = encoded(settings, *arguments)
    assert done.returncode == exit_codes.OK, done.stderr
    assert done.stdout


@pytest.mark.parametrize("form", ["md", "csv", "latex", "json"])
def test_every_table_can_be_printed_in_any_locale(finished: Path, form: str) -> None:
    done = encoded(ASCII, "report", str(finished), "--format", form)
    assert done.returncode == exit_codes.OK, done.stderr
    assert done.stdout.isascii()


def test_a_run_in_a_small_locale_leaves_utf8_files(finished: Path) -> None:
    assert json.loads((finished / "manifest.json").read_text(encoding="utf-8"))["scenario"]["name"] == "λ ≥ 1"
    assert "accuracy ↑" in (finished / "report.html").read_text(encoding="utf-8")
    done = encoded(LATIN, "report", str(finished), "--format", "md", "--output", str(finished / "table.md"))
    assert done.returncode == exit_codes.OK, done.stderr
    assert "accuracy ↑" in (finished / "table.md").read_text(encoding="utf-8")


def test_a_folder_whose_name_is_no_text_is_as_good_as_any(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9")
    done = encoded(ASCII, "scenario", small(tmp_path, rounds=1, margin_db=0.0), "--out", odd)
    assert done.returncode in (exit_codes.OK, exit_codes.INVALID), done.stderr
    (run,) = Path(odd).iterdir()
    assert os.fsencode(run) in done.stdout
    assert json.loads((run / "events.jsonl").read_text(encoding="utf-8").splitlines()[0])["run_dir"] == str(run)


def test_characters_are_replaced_by_the_nearest_and_rows_keep_their_width() -> None:
    output.prepare()
    for text, wanted in (
        ("PSNR ↓ ±0.1 — ▁▄█", "PSNR v ~0.1 - _=#"),
        ("café", "cafe"),
        ("放射線", "???"),
        ("✓ ✗", "+ x"),
    ):
        assert text.encode("ascii", output.LEGIBLE).decode() == wanted
        assert len(text) == len(wanted)
    assert os.fsdecode(b"\xe9t").encode("utf-8", output.LEGIBLE) == b"\xe9t"


def head(*arguments: str, stderr: int = subprocess.PIPE) -> tuple[int, str]:
    """Run a command whose reader has left before anything is written; its exit code and its standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "splitfed", *arguments]
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=writer if stderr == subprocess.STDOUT else stderr,
            encoding="utf-8", timeout=120, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("arguments", [["datasets"], ["--help"], ["doctor"], ["report", "RUN", "--format", "md"]])
def test_a_reader_that_leaves_ends_a_listing_quietly(finished: Path, arguments: list[str]) -> None:
    named = [str(finished) if word == "RUN" else word for word in arguments]
    code, errors = head(*named)
    assert errors == ""
    assert code == exit_codes.READER_LEFT or arguments == ["--help"]  # argparse forgives where nothing is buffered


def test_a_run_whose_reader_leaves_goes_on_to_its_end(tmp_path: Path) -> None:
    scenario = small(tmp_path, rounds=2)
    code, _ = head("scenario", scenario, "--out", str(tmp_path / "runs"), stderr=subprocess.STDOUT)
    assert code == exit_codes.OK
    (stored,) = (tmp_path / "runs").glob("*/results.json")
    (cell,) = json.loads(stored.read_text(encoding="utf-8"))["cells"]
    assert cell["valid"]
    assert '"ClientLost"' not in (stored.parent / "events.jsonl").read_text(encoding="utf-8")


def closed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that starts without standard output and standard error."""
    shell = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-m", "splitfed", *arguments]
    return subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False)


def test_streams_that_were_closed_disturb_nothing(tmp_path: Path) -> None:
    assert closed("datasets").returncode == exit_codes.OK
    assert closed("report", str(tmp_path)).returncode == exit_codes.USER_MISTAKE
    done = closed("scenario", small(tmp_path, rounds=1, margin_db=0.0), "--out", str(tmp_path / "runs"))
    assert done.returncode in (exit_codes.OK, exit_codes.INVALID)
    (log,) = (tmp_path / "runs").glob("*/events.jsonl")
    assert all(json.loads(line)["event"] for line in log.read_text(encoding="utf-8").splitlines())


@needs_full
def test_a_full_disk_under_standard_output_is_said() -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "splitfed", "scenarios"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == exit_codes.USER_MISTAKE
    assert done.stderr.startswith(
        "splitfed: standard output, or a file that was being written: No space left on device; "
    )
    assert done.stderr.count("\n") == 1


def test_no_file_is_opened_as_text_without_saying_its_encoding() -> None:
    for path in sorted(Path(splitfed.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _opens_text(call):
                assert any(key.arg == "encoding" for key in call.keywords), f"{path}:{call.lineno}"


def _opens_text(call: ast.Call) -> bool:
    """Whether this call opens a file as text, by what it is called and by its mode."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("read_text", "write_text") or any(key.arg in ("text", "universal_newlines") for key in call.keywords):
        return True
    modes = [value.value for value in call.args if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    if owner is not None and name == "open" and (call.args or call.keywords) and not modes:
        return False  # a store, an archive, a stream
    return name in ("open", "fdopen", "NamedTemporaryFile") and not any("b" in mode for mode in modes)
