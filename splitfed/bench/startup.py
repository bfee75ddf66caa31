"""How long `splitfed --help` and `import splitfed` take: one JSON line each, median of repeats."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from splitfed.bench.arguments import positive
from splitfed.bench.measure import median_s, print_line

CASES = {
    "splitfed --help": ["-P", "-m", "splitfed", "--help"],
    "import splitfed": ["-P", "-c", "import splitfed"],
    "python alone": ["-P", "-c", ""],
}
"""Arguments of the interpreter."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per case; returns 0."""
    parser = argparse.ArgumentParser(prog="splitfed bench startup", description=__doc__)
    parser.add_argument("--repeats", type=positive, default=9, help="of each case (default 9)")
    repeats = parser.parse_args(argv).repeats
    for case, arguments in CASES.items():
        median = median_s(partial(_start, arguments), repeats)
        print_line({"case": case, "median_s": round(median, 3), "repeats": repeats})
    return 0


def _start(arguments: list[str]) -> None:
    """One run of the interpreter, from its start to its end."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
