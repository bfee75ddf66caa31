"""How long a scenario takes and how much memory all its processes hold together: one JSON line."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from splitfed.errors import UserError
from splitfed.runners import child

SAMPLE_S = 0.2


def main(argv: list[str] | None = None) -> int:
    """Run a scenario as a user does, and measure it; returns the scenario's own exit code."""
    parser = argparse.ArgumentParser(prog="splitfed bench scenario", description=__doc__)
    parser.add_argument("name", nargs="?", default="medmnist_split")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to `splitfed scenario`, such as --quick")
    arguments = parser.parse_args(argv)
    if not Path("/proc/self/status").exists():
        raise UserError("`splitfed bench scenario` reads memory from /proc, which this platform does not have")
    with tempfile.TemporaryDirectory() as runs:
        command = child.arguments("scenario", arguments.name, "--live", "none", "--out", runs, *arguments.rest)
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, *command], env=child.environment(), stdout=subprocess.DEVNULL
        ) as process:
            peak_kib = _peak_of_tree(process)
        wall_s = time.monotonic() - started
    line = {
        "case": " ".join([arguments.name, *arguments.rest]),
        "wall_s": round(wall_s, 1),
        "peak_memory_mib": round(peak_kib / 1024),
        "exit_code": process.returncode,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    return process.returncode


def _peak_of_tree(process: subprocess.Popen[bytes]) -> int:
    """KiB that the process and its children held at most, together; shared pages count once per process."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_resident_kib(pid) for pid in _tree(process.pid)))
        time.sleep(SAMPLE_S)
    return peak


def _tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        fields = _fields(status)
        if "PPid" in fields:
            children.setdefault(int(fields["PPid"]), []).append(int(status.parent.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def _resident_kib(pid: int) -> int:
    return int(_fields(Path(f"/proc/{pid}/status")).get("VmRSS", "0 kB").split()[0])


def _fields(status: Path) -> dict[str, str]:
    """The fields of a status file; none if the process is gone."""
    try:
        lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
