"""The command line: which commands there are, and what errors become. Each command has a file of its own.

Heavy packages are imported by the command that uses them, when it runs.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from splitfed import __version__, files
from splitfed.cli import attacker, bench, certs, data, doctor, lists, output, report, roles, scenario, watch
from splitfed.cli.exit_codes import BUG, INTERRUPTED, READER_LEFT, USER_MISTAKE
from splitfed.errors import PluginError, UnfinishedError, UserError

COMMANDS = (scenario, watch, lists, report, data, roles, attacker, certs, bench, doctor)
"""In the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    output.prepare()
    try:
        return _run(argv)
    except (UserError, PluginError) as error:
        output.complain(str(error))
        return USER_MISTAKE
    except UnfinishedError as error:
        output.complain(str(error))
        return BUG
    except KeyboardInterrupt:
        output.complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return READER_LEFT
    except OSError as error:
        message = files.explain(error)
        if message is None:
            raise
        output.complain(message)
        return USER_MISTAKE
    finally:
        output.drop_unwritable()


def _run(argv: Sequence[str] | None) -> int:
    """Parse and run; what was printed has left this process when it returns."""
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    try:
        arguments = _parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int] = arguments.command
        code = command(arguments)
    except SystemExit:  # --help and --version end so
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _interrupt() -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="splitfed",
        description="A laboratory for privacy in federated split learning: train it, tap it, attack it, measure it.",
        epilog=scenario.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"splitfed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
