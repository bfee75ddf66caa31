"""Where the cache lies, also for users without a home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import splitfed
from splitfed.data.locations import cache_dir
from splitfed.errors import DataError

NOBODY = 54321
"""A user number that no machine has an entry for."""


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a home; returns where temporary files go."""

    def raise_error() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", raise_error)
    monkeypatch.delenv("SPLITFED_CACHE", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_the_cache_lies_where_it_is_named_or_under_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLITFED_CACHE", "/somewhere")
    assert cache_dir() == Path("/somewhere")
    monkeypatch.delenv("SPLITFED_CACHE")
    monkeypatch.setenv("HOME", "/home/of/mine")
    assert cache_dir() == Path("/home/of/mine/.cache/splitfed")


def test_without_a_home_the_cache_is_a_private_folder_and_the_same_one_again(no_home: Path) -> None:
    folder = cache_dir()
    assert folder == no_home / f"splitfed-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_dir() == folder


def loosen(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("prepare", [loosen, link, Path.touch])
def test_a_folder_that_others_could_have_laid_out_is_refused(prepare: Callable[[Path], None], no_home: Path) -> None:
    prepare(no_home / f"splitfed-{os.getuid()}")
    with pytest.raises(DataError, match="SPLITFED_CACHE"):
        cache_dir()


def test_a_cache_named_by_the_home_that_there_is_not_is_refused(
    no_home: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPLITFED_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(DataError, match=r"SPLITFED_CACHE=~nobody-of-this-name/cache: .*give a full path"):
        cache_dir()


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder of a user without a home and without an entry in the machine's list."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv")
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as that user, who may read everything, since this installation may lie in root's home, and write
    nothing but its own."""
    reads = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *reads]
    bare = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    return subprocess.run(
        [*become, sys.executable, *arguments],
        cwd=folder,
        env={**bare, "TMPDIR": str(folder), "PYTHONPATH": str(Path(splitfed.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_user_without_a_home_or_an_entry_can_run_everything(outside: Path) -> None:
    become = as_nobody(outside, "-c", "import splitfed")
    if become.returncode:
        pytest.skip(f"this machine lets no one become another user: {become.stderr.strip()}")
    examined = as_nobody(outside, "-m", "splitfed", "doctor")
    assert "Traceback" not in examined.stderr
    assert f"splitfed-{NOBODY}" in "".join(examined.stdout.split())
    (outside / "small.toml").write_text(
        'name = "small"\ndata = { name = "digits", train = 96, aux = 100, test = 60 }\nmodel = { width = 16 }\n'
        "federation = { rounds = 1, batch_size = 32 }\n"
        '[[defense]]\nname = "sparse_standard"\n[[attack]]\nname = "ridge"\n'
    )
    ran = as_nobody(outside, "-m", "splitfed", "scenario", "small.toml", "--live", "plain")
    assert "Traceback" not in ran.stderr
    assert "run directory" in ran.stderr
    assert "goes on without" not in ran.stderr
    assert ran.returncode in (0, 3), ran.stderr
    assert not (outside / "~").exists()
