"""``splitfed bench``: speed, memory and faults."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands

BENCHMARKS = ("scl", "wire", "scale", "scenario", "startup", "web", "faults", "fuzz")
"""Modules of `splitfed.bench`, each with a ``main(argv)``."""


def add_parser(commands: Commands) -> None:
    """``splitfed bench``."""
    parser = commands.add_parser("bench", help="measure speed and memory; one JSON line per case")
    parser.add_argument("what", choices=BENCHMARKS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on; try --help")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Hand over to the benchmark of this name; its own exit code."""
    code: int = import_module(f"splitfed.bench.{arguments.what}").main(arguments.arguments)
    return code
