"""`splitfed report`: where it is written, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from splitfed.cli import exit_codes
from tests.cli.processes import modes, run_cli


def test_a_report_that_cannot_be_written_says_where_it_could_be(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run")
    (copied / "report.html").unlink()
    (copied / "report.html").mkdir()
    done = run_cli("report", str(copied))
    assert done.returncode == exit_codes.USER_MISTAKE
    where = f"splitfed: cannot write {copied}/report.html: Is a directory; "
    assert done.stderr.startswith(where)
    assert done.stderr.endswith("name another place with --output FILE\n")
    for form, mark in (("html", "<!doctype html>"), ("md", "| defense"), ("json", '"schema"')):
        target = tmp_path / f"report.{form}"
        shown = run_cli("report", str(copied), "--format", form, "--output", str(target))
        assert (shown.returncode, shown.stdout) == (exit_codes.OK, f"{target}\n"), shown.stderr
        assert mark in target.read_text(encoding="utf-8")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_that_can_only_be_read_is_reported_on_elsewhere(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run")
    copied.chmod(0o500)
    try:
        refused = run_cli("report", str(copied))
        assert refused.returncode == exit_codes.USER_MISTAKE
        assert "Permission denied; give this user access to it, or name another place with --output" in refused.stderr
        assert run_cli("report", str(copied), "--output", str(tmp_path / "page.html")).returncode == exit_codes.OK
    finally:
        copied.chmod(0o700)


def test_a_run_without_pictures_is_left_as_it_is(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("images", "report.html"))
    before = {path.name for path in copied.iterdir()}
    assert run_cli("report", str(copied), "--output", str(tmp_path / "page.html")).returncode == exit_codes.OK
    assert {path.name for path in copied.iterdir()} == before


def test_a_run_without_results_says_so_in_every_format(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("results.json"))
    for form in ("html", "json", "md"):
        done = run_cli("report", str(copied), "--format", form)
        assert done.returncode == exit_codes.USER_MISTAKE
        assert "has no results.json yet" in done.stderr


def test_a_run_is_private_and_what_is_written_elsewhere_is_not(finished: Path, tmp_path: Path) -> None:
    assert modes(finished) == {0o700, 0o600}
    before = os.umask(0o022)
    try:
        for form in ("html", "md"):
            assert run_cli("report", str(finished), "--format", form, "--output", str(tmp_path / form)).returncode == 0
    finally:
        os.umask(before)
    assert [(tmp_path / form).stat().st_mode & 0o777 for form in ("html", "md")] == [0o644, 0o644]


def test_a_run_is_written_for_tensorboard(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run")
    for options, folder in (([], copied / "tensorboard"), (["--output", str(tmp_path / "b")], tmp_path / "b")):
        done = run_cli("report", str(copied), "--format", "tensorboard", *options)
        assert done.returncode == exit_codes.OK, done.stderr
        assert done.stdout == f"tensorboard --logdir {folder}\n"
        assert list((folder / "run" / "none").glob("events.out.tfevents.*"))
    assert modes(copied / "tensorboard") == {0o700, 0o600}


def test_a_run_that_has_only_begun_says_so_to_tensorboard(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("events.jsonl"))
    done = run_cli("report", str(copied), "--format", "tensorboard")
    assert done.returncode == exit_codes.USER_MISTAKE
    assert "has said nothing yet that TensorBoard shows" in done.stderr
