"""A finished run, for the commands that read one."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitfed.cli import exit_codes
from tests.cli.processes import run_cli
from tests.small_scenario import small


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("finished")
    done = run_cli("scenario", small(folder, rounds=1, margin_db=0.0), "--out", str(folder), "--live", "none")
    assert done.returncode in (exit_codes.OK, exit_codes.INVALID), done.stderr
    (run,) = folder.glob("small-*")
    return run
