"""What the tests of commands share: the command in a process of its own, and what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil


def run_cli(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a user starts it."""
    command = [sys.executable, "-m", "splitfed", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)  # type: ignore[call-overload,no-any-return]


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


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
