"""A child imports what its parent does, in whatever folder it is started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import splitfed
from splitfed.runners import child
from tests.small_scenario import small

PACKAGE = Path(splitfed.__file__).parent
PARENT = """
import subprocess, sys
from splitfed.runners import child
command = [sys.executable, *child.arguments("--version")]
sys.exit(subprocess.run(command, env=child.environment(), cwd=sys.argv[1]).returncode)
"""
INSTALLED = """
from splitfed.cli.main import main
if __name__ == "__main__":
    raise SystemExit(main())
"""


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder with what must not be imported from it."""
    for name in ("random", "torch", "socket", "json", "pydantic"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} of the current folder')\n")
    (tmp_path / "splitfed").mkdir()
    return tmp_path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package that is not installed, with a version of its own."""
    copy = tmp_path / "checkout" / "splitfed"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    init = copy / "__init__.py"
    init.write_text(init.read_text(encoding="utf-8").replace(splitfed.__version__, "9.9.9"), encoding="utf-8")
    return copy.parent


def version_of_child(*options: str, parent: Path, child: Path, **environment: str) -> str:
    """What the child of a parent started with these options says of itself, each started in its folder."""
    done = subprocess.run(
        [sys.executable, *options, "-c", PARENT, str(child)],
        cwd=parent,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_an_installed_package_is_imported_beside_files_of_any_name(trap: Path) -> None:
    assert version_of_child("-P", parent=trap, child=trap) == splitfed.__version__


def test_a_checkout_that_is_not_installed_is_imported(checkout: Path, trap: Path) -> None:
    assert version_of_child(parent=checkout, child=trap) == "9.9.9"


def test_a_checkout_on_pythonpath_is_imported(checkout: Path, trap: Path) -> None:
    assert version_of_child("-P", parent=trap, child=trap, PYTHONPATH=str(checkout)) == "9.9.9"


def path_of_child() -> list[str]:
    path: list[str] = json.loads(child.environment()["SPLITFED_CHILD_PATH"])
    return path


def test_the_current_folder_comes_last_where_python_put_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for first in ("", str(tmp_path)):
        monkeypatch.setattr(sys, "path", [first, "/one", "/two"])
        assert path_of_child() == ["/one", "/two", str(tmp_path)]
    monkeypatch.setattr(sys, "path", ["/one", str(tmp_path), "/two"])
    assert path_of_child() == ["/one", str(tmp_path), "/two"]


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "", "1"):
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        if before is not None:
            monkeypatch.setenv("PYTHONSAFEPATH", before)
        with child.safe_path():
            assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ.get("PYTHONSAFEPATH") == before


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_run_and_its_processes_do_not_see_the_current_folder(jobs: str, trap: Path) -> None:
    small(trap, rounds=1)
    command = trap / "bin" / "splitfed"
    command.parent.mkdir()
    command.write_text(INSTALLED, encoding="utf-8")
    arguments = ["scenario", "small.toml", "--out", "runs", "--jobs", jobs, "--live", "none"]
    done = subprocess.run(
        [sys.executable, str(command), *arguments],
        cwd=trap,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
