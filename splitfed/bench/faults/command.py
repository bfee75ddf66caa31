"""Faults of every kind, at points drawn from a seed; what comes of each run is computed beforehand, and compared.

    splitfed bench faults --faults 1000 --seed 0

Each run is a small federation on scikit-learn's digits over real gRPC, with a relay and its tap between clients and
server, that meets one to three faults: clients that crash, freeze, dawdle, or talk nonsense, some of them processes
that are killed; networks that cut, stall, part, or damage bytes; a relay that is killed, frozen, or starved; a server
that fails, dies between rounds or within one, or cannot keep its checkpoint. Every 16th run is a whole cell with an
attacker's process, or a whole run, that is struck; every 53rd a federation of processes whose SuperLink is killed and
started again. From the script follows which client is lost in which round, and how
the run ends; the weights have to be those of a run without a wire in which exactly these clients were never there, to
the bit.

One JSON line per run: its faults, what was found, and what of it is wrong; exit code 1 where anything is.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from splitfed.bench.arguments import positive
from splitfed.bench.measure import print_line


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per run; returns whether anything was not as it has to be."""
    parser = argparse.ArgumentParser(
        prog="splitfed bench faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=positive, default=200, help="at least so many (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the scripts (default 0)")
    parser.add_argument("--run", type=int, help="play the run of this number alone")
    options = parser.parse_args(argv)
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before gRPC is imported: it tells of each connection that breaks
    wrong = sum(bool(line["wrong"]) for line in _told(options.seed, options.faults, options.run))
    return 1 if wrong else 0


def _told(seed: int, faults: int, number: int | None) -> Iterator[dict[str, Any]]:
    from splitfed.bench.faults.stages import quiet, run

    with quiet():
        injected = 0
        for at in count() if number is None else [number]:
            line = run(seed, at)
            again = {"again": f"splitfed bench faults --seed {seed} --run {at}"} if line["wrong"] else {}
            print_line({**line, **again})
            yield line
            injected += len(line["faults"])
            if injected >= faults:
                return
