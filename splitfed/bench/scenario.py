"""How long a scenario takes and how much memory all its processes hold together: one JSON line."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time

import psutil

from splitfed.bench.measure import print_line
from splitfed.runners import child

SAMPLE_S = 0.2


def main(argv: list[str] | None = None) -> int:
    """Run a scenario as a user does, and measure it; returns the scenario's own exit code."""
    parser = argparse.ArgumentParser(prog="splitfed bench scenario", description=__doc__)
    parser.add_argument("name", nargs="?", default="medmnist_split")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to `splitfed scenario`, such as --quick")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as runs:
        command = child.arguments("scenario", arguments.name, "--live", "none", "--out", runs, *arguments.rest)
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, *command], env=child.environment(), stdout=subprocess.DEVNULL
        ) as process:
            peak_bytes = _peak_of_tree(process)
        wall_s = time.monotonic() - started
    line = {
        "case": " ".join([arguments.name, *arguments.rest]),
        "wall_s": round(wall_s, 1),
        "peak_memory_mib": round(peak_bytes / 2**20),
        "exit_code": process.returncode,
    }
    print_line(line)
    return process.returncode


def _peak_of_tree(process: subprocess.Popen[bytes]) -> int:
    """Bytes that the process and its children held at most, together; shared pages count once per process."""
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, sum(map(_resident_bytes, [root, *_descendants(root)])))
        time.sleep(SAMPLE_S)
    return peak


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    try:
        return list(root.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _resident_bytes(process: psutil.Process) -> int:
    """0 for a process that is gone."""
    try:
        return int(process.memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
