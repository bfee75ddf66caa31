"""The whole command for a user without a home and without an entry in the machine's list."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import splitfed

NOBODY = 54321
"""A user number that no machine has an entry for."""


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
