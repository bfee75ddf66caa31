"""``splitfed attacker``: the attacker's role, in a process of its own.

With a SuperLink in its file it takes part in a deployment, for as long as that lasts; without, it faces one cell, as
the lab has it do.
"""

from __future__ import annotations

import argparse
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from splitfed.cli import output
from splitfed.cli.roles import add
from splitfed.errors import PluginError

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands

EXAMPLES = """\
examples:
  splitfed attacker --config attacker/deployed.toml        relay and attack whatever a deployment trains
  splitfed attacker --config attacker/attacker.toml        one cell of a split service of your own
"""


def add_parser(commands: Commands) -> None:
    """``splitfed attacker``."""
    add(commands, "attacker", "the attacker's role: relay, record, reconstruct", EXAMPLES, run)


def run(arguments: argparse.Namespace) -> int:
    """Play the role until it is over."""
    from splitfed.roles.config import read_table

    output.speak_utf8()  # the lab reads it, not a person
    if "superlink" in read_table(arguments.config):
        return _take_part(arguments)
    from splitfed.attacker.role import run as play

    try:
        return play(arguments.config, ends_with=arguments.ends_with)
    except PluginError:
        traceback.print_exc()  # a log is the place for where in the plug-in it happened
        raise


def _take_part(arguments: argparse.Namespace) -> int:
    from splitfed.roles.attacker import play
    from splitfed.roles.config import AttackerNodeOptions, load_settings
    from splitfed.roles.log import speak
    from splitfed.roles.play import until_stopped

    settings = load_settings(AttackerNodeOptions, Path(arguments.config))
    speak("attacker", arguments.log)
    return until_stopped(lambda stopped: play(settings, stopped), ends_with=arguments.ends_with)
