"""``splitfed attacker``: the attacker's role, in a process of its own."""

from __future__ import annotations

import argparse
import traceback
from typing import TYPE_CHECKING

from splitfed.cli import output
from splitfed.cli.arguments import path
from splitfed.errors import PluginError

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """``splitfed attacker``."""
    parser = commands.add_parser("attacker", help="the attacker's role: relay, record, reconstruct")
    parser.add_argument("--config", type=path, required=True, help="a JSON or TOML file, see attacker/README.md")
    parser.add_argument(
        "--ends-with", type=int, metavar="FD", help="end when this pipe closes: the lab ties the role to itself by it"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Play the role until it is over."""
    from splitfed.attacker.role import run as play

    output.speak_utf8()  # the lab reads it, not a person
    try:
        return play(arguments.config, ends_with=arguments.ends_with)
    except PluginError:
        traceback.print_exc()  # a log is the place for where in the plug-in it happened
        raise
