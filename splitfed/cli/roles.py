"""``splitfed server``, ``splitfed client`` and ``splitfed attacker``: one role of a deployment in this process."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from splitfed.cli.arguments import path

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitfed.cli.arguments import Commands

SERVER_EXAMPLES = """\
examples:
  splitfed server --config server/server.toml              one hospital network's server, with a SuperLink of its own
  splitfed server --config server/server.toml --log json   for a machine that reads the log
"""
CLIENT_EXAMPLES = """\
examples:
  splitfed client --config clients/client-1.toml           one hospital: its images stay in this process
"""


def add_parser(commands: Commands) -> None:
    """The three commands; the attacker's is in `attacker`, which the lab starts too."""
    add(commands, "server", "hold the back and train what the lab orders", SERVER_EXAMPLES, _server)
    add(commands, "client", "hold images and take part in what is trained", CLIENT_EXAMPLES, _client)


def add(
    commands: Commands, name: str, what: str, examples: str, command: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A command that plays a role with the settings of a file."""
    parser = commands.add_parser(name, help=what, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=path, required=True, help="a TOML or JSON file; see docs/deploy.md")
    parser.add_argument("--log", choices=("text", "json"), default="text", help="what standard error gets (text)")
    parser.add_argument(
        "--ends-with", type=int, metavar="FD", help="stop when this pipe closes: for a program that starts the role"
    )
    parser.set_defaults(command=command)
    return parser


def _server(arguments: argparse.Namespace) -> int:
    from splitfed.roles.config import ServerOptions, load_settings
    from splitfed.roles.log import speak
    from splitfed.roles.play import until_stopped
    from splitfed.roles.server import play

    settings = load_settings(ServerOptions, arguments.config)
    speak("server", arguments.log)
    return until_stopped(lambda stopped: play(settings, stopped), ends_with=arguments.ends_with)


def _client(arguments: argparse.Namespace) -> int:
    from splitfed.roles.client import play
    from splitfed.roles.config import ClientOptions, load_settings
    from splitfed.roles.log import speak
    from splitfed.roles.play import until_stopped

    settings = load_settings(ClientOptions, arguments.config)
    speak(f"client-{settings.client}", arguments.log)
    return until_stopped(lambda stopped: play(settings, stopped), ends_with=arguments.ends_with)
