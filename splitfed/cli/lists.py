"""``splitfed scenarios``, ``defenses``, ``attacks``, ``generators`` and ``datasets``: what there is, one line each."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from splitfed.cli.exit_codes import OK

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands

KINDS = {
    "scenarios": "the scenarios that there are, one line each",
    "defenses": "the defenses that there are, one line each",
    "attacks": "the attacks that there are, one line each",
    "generators": "the image generators that there are, one line each",
    "datasets": "the data sets that there are, one line each",
}
"""What can be listed, with the help of its command."""


def add_parser(commands: Commands) -> None:
    """A command per kind."""
    for kind, about in KINDS.items():
        commands.add_parser(kind, help=about).set_defaults(command=run, kind=kind)


def run(arguments: argparse.Namespace) -> int:
    """Print the list of this kind."""
    from splitfed.views.terminal.listing import show

    show(_described(arguments.kind))
    return OK


def _described(kind: str) -> list[tuple[str, str]]:
    if kind == "scenarios":
        from splitfed.config.shipped import describe_shipped

        return describe_shipped()
    if kind == "datasets":
        from splitfed.data import describe

        return describe()
    if kind == "attacks":
        from splitfed.attacks import describe as describe_attacks

        return describe_attacks()
    if kind == "generators":
        from splitfed.generators import describe as describe_generators

        return describe_generators()
    from splitfed.defenses import describe as describe_defenses

    return describe_defenses()
