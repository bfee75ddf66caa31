"""How long `splitfed --help` and `import splitfed` take: one JSON line each, median of repeats."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

REPEATS = 9
CASES = {
    "splitfed --help": [sys.executable, "-P", "-m", "splitfed", "--help"],
    "import splitfed": [sys.executable, "-P", "-c", "import splitfed"],
    "python alone": [sys.executable, "-P", "-c", ""],
}


def seconds(command: list[str]) -> float:
    """Wall time of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print one line per case."""
    for case, command in CASES.items():
        times = [seconds(command) for _ in range(REPEATS)]
        print(json.dumps({"case": case, "median_s": round(statistics.median(times), 3), "repeats": REPEATS}))


if __name__ == "__main__":
    main()
