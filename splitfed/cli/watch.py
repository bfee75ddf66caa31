"""``splitfed watch``: the live view of runs in a browser."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from splitfed.cli import output
from splitfed.cli.arguments import path
from splitfed.cli.exit_codes import OK
from splitfed.errors import UserError

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands

NICENESS = 10
"""Of the page of a run that goes on: the run goes first."""
EXAMPLES = """\
examples:
  splitfed watch                                     the runs in runs/, also those that go on
  splitfed watch runs/medmnist_split-20260101-120000  one run
  splitfed watch runs/medmnist_split-20260101-120000 --speed 20   replay it, twenty times as fast as it was
  splitfed watch --host 0.0.0.0                      for other machines too, which need the token in the address
"""


def add_parser(commands: Commands) -> None:
    """``splitfed watch``."""
    parser = commands.add_parser(
        "watch",
        help="watch runs in a browser, live or finished",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", nargs="?", type=path, default=Path("runs"), help="a run, or a directory of runs (runs)")
    parser.add_argument("--port", type=int, metavar="N", help="where to listen; 0 takes a free one (8700 or the next)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (127.0.0.1: this machine alone); others see private images through any other "
        "address, so that one asks for a token, which is printed",
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        help="the address under which browsers reach it, where that is another: in a container, or behind a tunnel",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--speed", type=float, metavar="S", help="replay a finished run, S times as fast as it was")
    parser.add_argument("--listening", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.add_argument("--ends-with", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the address and serve until Ctrl-C."""
    if arguments.ends_with is not None and hasattr(os, "nice"):
        os.nice(NICENESS)  # before the imports, which take a second of a core
    from splitfed.views.web import port, serve
    from splitfed.views.web.app import FASTEST
    from splitfed.views.web.catalog import Catalog

    if arguments.speed is not None and not 0 < arguments.speed <= FASTEST:
        raise UserError(f"--speed {arguments.speed}: a number above 0 and at most {FASTEST:g} is expected, such as 20")
    catalog = Catalog(arguments.path)
    if arguments.listening is None:
        listening = port.listen(arguments.host, arguments.port)
    else:
        listening = socket.socket(fileno=arguments.listening)
    token = os.environ.get(port.TOKEN_VARIABLE) or port.new_token(arguments.host)
    if arguments.listening is None:
        _announce(port.address(listening, token, arguments.url), arguments)
    serve.serve(
        catalog, listening, host=arguments.host, token=token, speed=arguments.speed, ends_with=arguments.ends_with
    )
    return OK


def _announce(address: str, arguments: argparse.Namespace) -> None:
    with output.reader_may_leave():
        print(f"{arguments.path}: {address}\nCtrl-C ends it", flush=True)
    if not arguments.no_browser and sys.stdout.isatty() and _has_screen():
        import webbrowser

        webbrowser.open(address)


def _has_screen() -> bool:
    """Whether a browser would have a window of its own: one in this terminal would take it over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
