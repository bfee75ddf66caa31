"""The whole command in surroundings that people have: odd folder names, proxies, few open files, many clients."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = """
name = "many clients"
[data]
name = "folder"
path = "bilder ü (1)"
train = 400
aux = 1000
test = 200
[model]
width = 16
[federation]
clients = 100
rounds = 1
batch_size = 4
[attacker]
margin_db = 0
[[defense]]
name = "none"
[[attack]]
name = "ridge"
"""
OPEN_FILES = 512
NOWHERE = "http://127.0.0.1:9"
"""A proxy that answers nobody: whoever asks it fails."""


@pytest.mark.slow
def test_a_hundred_clients_with_few_files_behind_a_proxy_in_an_odd_folder(tmp_path: Path) -> None:
    place = tmp_path / "ein Ördner; mit 'Namen'"
    _write_digits(place / "bilder ü (1)")
    (place / "many.toml").write_text(SCENARIO, encoding="utf-8")
    proxies = {name: NOWHERE for plain in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
               for name in (plain, plain.upper())}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "splitfed", "scenario", "many.toml", "--live", "none"],
        cwd=place,
        env={**os.environ, **proxies, "SPLITFED_CACHE": str(tmp_path / "cache"), "no_proxy": "", "NO_PROXY": ""},
        preexec_fn=_few_files,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (place / "runs").iterdir()
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["valid"]
    assert sum(results["dataset"]["images"].values()) == 1797
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert not [event for event in events if event["event"] == "ClientLost"]
    assert {event["client"] for event in events if event["event"] == "ClientProgress"} == set(range(100))


def _write_digits(folder: Path) -> None:
    """scikit-learn's digits as PNG files in ten folders."""
    import numpy as np
    from PIL import Image

    from splitfed.data import load

    digits = load("digits")
    for number, (pixels, label) in enumerate(zip(digits.pixels, digits.labels.tolist(), strict=True)):
        path = folder / f"Zahl {label}" / f"{number} é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels[0])).save(path)


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
