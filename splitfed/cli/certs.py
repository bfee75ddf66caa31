"""``splitfed certs``: the certificates by which the parties of a federation know each other."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from splitfed.cli.arguments import path
from splitfed.cli.exit_codes import OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitfed.cli.arguments import Commands

MOST_CLIENTS = 256
MOST_DAYS = 3650
EXAMPLES = """\
examples:
  splitfed certs certs --clients 3 --host lab.example.org --host 10.0.0.5
  splitfed certs certs --add client-3
  splitfed certs certs --register 127.0.0.1:8000

Each party gets its own folder, and no other; ca.key.pem stays where it is: whoever has it can be any of them.
"""


def add_parser(commands: Commands) -> None:
    """``splitfed certs``."""
    parser = commands.add_parser(
        "certs",
        help="make certificates and keys for the parties of a federation",
        description="A new authority with the certificates of server, superlink, attacker, lab, and the clients.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=path, help="made by this; nothing in it is overwritten")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME_OR_IP",
        dest="hosts",
        help="by which server and superlink are dialed, beside localhost; can be given several times",
    )
    parser.add_argument("--clients", type=_up_to(MOST_CLIENTS), metavar="N", help="how many clients (default 3)")
    parser.add_argument(
        "--days", type=_up_to(MOST_DAYS), default=365, metavar="D", help="until they expire (default 365)"
    )
    parser.add_argument("--add", metavar="PARTY", help="one more party for the authority that is there: client-3, say")
    parser.add_argument(
        "--register",
        metavar="HOST:PORT",
        help="have the SuperLink there let in all parties of this folder, by their keys as nodes",
    )
    parser.set_defaults(command=run)


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"want a number from 1 to {most}, got {text!r}")
        return int(text)

    return number


def run(arguments: argparse.Namespace) -> int:
    """Make them, and say where they are."""
    from splitfed.errors import UserError

    if arguments.register is not None:
        _register(arguments)
    elif arguments.add is None:
        _make(arguments)
    elif arguments.clients is None:
        _add(arguments)
    else:
        raise UserError("--add names one party, --clients makes all of a new authority: give one of the two")
    return OK


def _make(arguments: argparse.Namespace) -> None:
    from splitfed.views.terminal.listing import show
    from splitfed.wire.certificate_folders import AUTHORITY_KEY_FILE, make_certificates

    folder, clients = arguments.folder, arguments.clients or 3
    parties = make_certificates(folder, clients=clients, hosts=arguments.hosts, days=arguments.days)
    show(
        [
            *((f"{folder / party}/", f"for the machine of {party}") for party in parties),
            (str(folder / AUTHORITY_KEY_FILE), "stays here, for --add: whoever has it can be any party"),
        ]
    )
    print(f"All are good for {arguments.days} days.")


def _add(arguments: argparse.Namespace) -> None:
    from splitfed.wire.certificate_folders import add_party

    ends = add_party(arguments.folder, arguments.add, hosts=arguments.hosts, days=arguments.days)
    print(f"{arguments.folder / arguments.add}/ for the machine of {arguments.add}, good until {ends:%Y-%m-%d}")


def _register(arguments: argparse.Namespace) -> None:
    from splitfed.roles.server import let_in
    from splitfed.wire.certificates import LAB

    new = let_in(arguments.register, arguments.folder / LAB, arguments.folder)
    print(f"{arguments.register} lets in all parties of {arguments.folder}: {new} were new to it")
