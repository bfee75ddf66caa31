"""The doctor asks the distribution itself what it requires, and says of each package and extra whether it is there."""

from __future__ import annotations

import builtins
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from splitfed.cli import checkup, exit_codes
from splitfed.cli import requirements as asked
from splitfed.cli.checkup import Check, checks_of, examine
from splitfed.cli.requirements import Requirement, requirements

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
REQUIRED = [
    "torch>=2.6",
    "flwr<1.42,>=1.41",
    "colorama (>=0.4) ; sys_platform == 'nowhere'",
    'ray>=2.40; extra == "ray"',
    "opacus>=1.6; extra == 'dp'",
    "tifffile>=2024.1 ; python_version >= '3.11' and extra == \"medical\"",
    "pydicom; python_version < '3' and extra == 'medical'",
]
INSTALLED = {"torch": "2.13.0+cu130", "flwr": "1.41.0", "opacus": "1.6.0", "tifffile": "2023.1.1"}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is installed, by package; the distribution requires `REQUIRED`."""
    installed = dict(INSTALLED)

    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(asked, "requires", lambda _: REQUIRED)
    monkeypatch.setattr(asked, "version", version)
    monkeypatch.setattr(checkup, "extras", lambda: ["ray", "dp", "medical"])
    monkeypatch.setattr(checkup, "python_wanted", lambda: ">=3.11")
    return installed


def check(name: str) -> Check:
    (found,) = [check for check in checks_of(None) if check.name == name]
    return found


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this package were not installed."""
    honest = builtins.__import__

    def refuse(name: str, scope: Mapping[str, Any] | None = None, *rest: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return honest(name, scope, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.usefixtures("place")
def test_what_does_not_apply_here_is_not_required() -> None:
    assert requirements() == [
        Requirement("torch", ">=2.6", ""),
        Requirement("flwr", "<1.42,>=1.41", ""),
        Requirement("opacus", ">=1.6", "dp"),
        Requirement("tifffile", ">=2024.1", "medical"),
        Requirement("ray", ">=2.40", "ray"),
    ]


def test_what_fits_is_well_and_what_does_not_has_a_cure(place: dict[str, str]) -> None:
    assert check("torch") == ("torch", "2.13.0+cu130", "", False)
    assert check("flwr").cure == ""
    place["flwr"] = "1.42.0"
    assert check("flwr").found == "1.42.0, want <1.42,>=1.41"
    assert check("flwr").cure.endswith("pip install 'flwr<1.42,>=1.41'")
    del place["flwr"]
    assert check("flwr").found == "missing"
    assert check("flwr").mark == "✗"
    place["torch"] = "2.7.0rc1"
    assert check("torch").cure == ""


@pytest.mark.usefixtures("place")
def test_an_extra_says_what_it_brings_and_is_never_needed() -> None:
    assert check("extra dp") == ("extra dp", "installed: the epsilon of the defense dpsgd (opacus)", "", False)
    ray, medical = check("extra ray"), check("extra medical")
    assert (ray.mark, ray.cure) == ("–", "")
    assert ray.found.startswith(
        "not installed: --runner ray: clients or cells on Ray; pip install 'splitfed[ray]' (ray is"
    )
    assert "tifffile 2023.1.1, want >=2024.1" in medical.found


@pytest.mark.usefixtures("place")
def test_an_older_python_than_required_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: "3.10.4")
    assert check("python") == ("python", "3.10.4", "install Python >=3.11", False)


def test_without_packaging_names_are_checked_and_versions_are_not(
    place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without("packaging", monkeypatch)
    place["flwr"] = "1.42.0"
    assert check("flwr").cure == ""
    del place["flwr"]
    assert check("flwr").found == "missing"
    assert check("extra ray").optional


def test_a_folder_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(asked, "requires", missing)
    assert check("splitfed").cure.endswith("pip install .")
    assert not examine(None)


def test_all_is_well_only_where_nothing_needs_a_cure(
    place: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPLITFED_CACHE", str(tmp_path))
    assert examine(None)
    assert "✗" not in capsys.readouterr().out
    del place["torch"]
    assert not examine(None)
    assert "✗" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_it_speaks_without_rich_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    without("rich", monkeypatch)
    examine(None)
    assert "✓  torch  2.13.0+cu130" in capsys.readouterr().out


def test_every_extra_of_the_project_is_explained() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    assert set(checkup.BRINGS) == set(project["optional-dependencies"])


def test_every_line_of_the_project_is_understood() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    for line in project["dependencies"]:
        found = asked._read(line)
        assert found is not None
        assert found.text.replace(" ", "") == line.replace(" ", "")
        assert found.fault() == "" or found.installed() is None


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
    assert done.returncode == exit_codes.OK, done.stdout
    assert done.stderr == ""
    assert f"splitfed-{os.getuid()}" in done.stdout  # the folder that stands in for the home's


def test_doctor_says_what_runs_take(finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert not [check for check in checks_of(None) if check.name.startswith("runs")]
    shutil.copytree(finished, tmp_path / "runs" / finished.name)
    (check,) = [check for check in checks_of(None) if check.name.startswith("runs")]
    assert re.fullmatch(rf"[\d.]+ [kM]B in 1, of that [\d.]+ [kM]B in {finished.name}", check.found)
