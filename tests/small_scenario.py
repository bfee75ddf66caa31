"""The smallest scenario that a process of its own runs in seconds and calls valid."""

from __future__ import annotations

from pathlib import Path

SMALL = """
name = "small"
[data]
name = "digits"
train = 480
aux = 600
test = 240
[model]
width = 48
[federation]
rounds = {rounds}
batch_size = 32
[attacker]
margin_db = {margin_db}
[[defense]]
name = "none"
[[attack]]
name = "ridge"
"""


def small(folder: Path, *, rounds: int = 2, margin_db: float = 1.0) -> str:
    """Write it into the folder; the file's path, as the command line takes it."""
    file = folder / "small.toml"
    file.write_text(SMALL.format(rounds=rounds, margin_db=margin_db), encoding="utf-8")
    return str(file)
