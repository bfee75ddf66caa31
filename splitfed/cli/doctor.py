"""``splitfed doctor``: what is installed, found, missing, and the cure."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from splitfed.cli.arguments import path
from splitfed.cli.exit_codes import INVALID, OK

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """``splitfed doctor``."""
    parser = commands.add_parser("doctor", help="what is installed, found, missing, and the cure")
    parser.add_argument("--data-root", type=path, help="where to look for data sets first")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every check; `INVALID` where something is missing."""
    from splitfed.cli.checkup import examine

    return OK if examine(arguments.data_root) else INVALID
