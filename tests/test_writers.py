"""What must not happen half has one function: whoever writes a file does it through `splitfed.files`."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "splitfed"
WRITES = re.compile(
    r"""open\([^()\n]*["'][rwax]b?\+?b?["']|\.write_text\(|\.write_bytes\(|mkstemp\(|TemporaryFile\(
    |\bnp\.save\w*\(|\btorch\.save\(|\bjson\.dump\(|os\.fdopen\(|os\.pwrite\(|open_memmap\(""",
    re.VERBOSE,
)
READS = re.compile(r"""["']rb?["']|fdopen\(descriptor, "rb"\)""")
ELSEWHERE = {
    "files.py": "is that function",
    "records/event_log.py": "a log grows by a line at a time, and takes back what it could not write whole",
    "records/lock.py": "the file of a lock stays the same file, else its lock would be another one",
    "wire/observations.py": "records are appended while the wire runs; a half one at the end is cut off when read",
    "experiment/attacker_process.py": "the log is written by the attacker's process itself",
    "bench/faults/superlink.py": "the log is written by the SuperLink's process itself",
    "experiment/deployment.py": "the log is written by the role's process itself",
    "roles/server.py": "the log is written by the SuperLink's process itself",
    "cli/output.py": "standard output is no file",
    "data/cache.py": "an entry is a folder of files, which `files.publish_folder` gives its name once all are there",
    "data/spool.py": "a temporary file that has no name",
    "cli/web_process.py": "a temporary file that has no name",
    "data/download.py": "what is downloaded is checked before it gets its name",
    "bench/scl_memory.py": "/proc is no file",
}
"""Who writes by other means, and why that is right."""
INTO_THESE = re.compile(r"np\.savez\(file,|torch\.save\(.*, content\)")
"""NumPy and PyTorch write into what `files.replacing` has opened, or into memory."""


def writers() -> dict[str, list[str]]:
    """The lines that write, by module."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for line in path.read_text(encoding="utf-8").splitlines():
            if WRITES.search(line) and not (READS.search(line) or INTO_THESE.search(line)):
                found.setdefault(name, []).append(line.strip())
    return found


def test_nobody_else_writes_files() -> None:
    strays = {name: lines for name, lines in writers().items() if name not in ELSEWHERE}
    assert strays == {}


def test_every_exception_is_one() -> None:
    assert set(ELSEWHERE) <= set(writers())
