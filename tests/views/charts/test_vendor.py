"""The chart library that is shipped is the registry's, byte for byte, under a license that goes with it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from splitfed.views.charts import assets

VENDOR = assets.FOLDER / "vendor"
SHIPPED: list[dict[str, str]] = json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))
DOWNLOAD_S = 60


def named(entry: dict[str, str]) -> str:
    return f"{entry['package']}@{entry['version']}"


def test_every_file_is_accounted_for() -> None:
    known = {"vendor.json", *(entry[key] for entry in SHIPPED for key in ("file", "license_file"))}
    assert {path.name for path in VENDOR.iterdir()} == known
    assert [f"vendor/{entry['file']}" for entry in SHIPPED] == list(assets.VENDOR)


@pytest.mark.parametrize("entry", SHIPPED, ids=named)
def test_it_is_what_its_record_says(entry: dict[str, str]) -> None:
    content = (VENDOR / entry["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert f"v{entry['version']} Copyright".encode() in content[:100]
    assert "Permission to use, copy, modify" in (VENDOR / entry["license_file"]).read_text(encoding="utf-8")
    assert entry["license"] == "ISC"


@pytest.mark.slow
@pytest.mark.parametrize("entry", SHIPPED, ids=named)
def test_it_equals_the_registrys(entry: dict[str, str], tmp_path: Path) -> None:
    package = packed(named(entry), tmp_path)
    with tarfile.open(package) as archive:
        for shipped, theirs in ((entry["file"], entry["in_package"]), (entry["license_file"], "LICENSE")):
            member = archive.extractfile(f"package/{theirs}")
            assert member is not None
            assert member.read() == (VENDOR / shipped).read_bytes()


def packed(package: str, folder: Path) -> Path:
    """The registry's archive of a package."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: what is shipped is not compared with the registry's")
    command = [npm, "pack", package, "--json", "--fetch-retries=1", "--fetch-timeout=20000"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the registry did not send {package} within {DOWNLOAD_S} s")
    if done.returncode:
        reason = done.stderr.strip().splitlines()[0] if done.stderr.strip() else "npm failed"
        if any(sign in done.stderr for sign in ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "network")):
            pytest.skip(f"the registry cannot be reached: {reason}")
        pytest.fail(done.stderr)
    told: Any = json.loads(done.stdout)
    return folder / str(told[0]["filename"])
