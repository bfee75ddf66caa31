"""``splitfed data``: list, fetch and check data sets; deal out the attacker's images."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from splitfed.cli import lists
from splitfed.cli.arguments import path
from splitfed.cli.exit_codes import OK

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands

EXAMPLES = """\
examples:
  splitfed data check ~/xrays
  splitfed data check ~/xrays --set 'data.exclude=["*/masks/*"]' --set data.group_level=2
  splitfed data check breastmnist.npz
  splitfed data check medical_mnist

The keys and what they decide: docs/data.md. The same keys then go into a scenario, or after `splitfed scenario`.
"""


def add_parser(commands: Commands) -> None:
    """``splitfed data`` with its actions."""
    parser = commands.add_parser("data", help="list or fetch data sets")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    actions.add_parser("list", help="what there is").set_defaults(command=lists.run, kind="datasets")
    _add_fetch(actions)
    _add_check(actions)
    _add_deal(actions)


def _add_fetch(actions: Commands) -> None:
    parser = actions.add_parser("fetch", help="find or download a data set and decode it into the cache")
    parser.add_argument("name")
    parser.add_argument("--data-root", type=path, help="where to look first")
    parser.set_defaults(command=_fetch)


def _add_check(actions: Commands) -> None:
    parser = actions.add_parser(
        "check",
        help="what would be read: classes, counts, sizes, patients, duplicates, skipped files",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="PATH|NAME", help="a folder, an archive or an .npz; or a data set's name")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="a key of a scenario's data"
    )
    parser.add_argument("--data-root", type=path, help="where to look first")
    parser.set_defaults(command=_check)


def _add_deal(actions: Commands) -> None:
    parser = actions.add_parser(
        "deal",
        help="write the attacker's own images of a scenario, none of which is a client's, for an attacker elsewhere",
        epilog="example:\n  splitfed data deal medmnist_split --out attacker-images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", metavar="NAME|FILE", help="a shipped scenario or a file")
    parser.add_argument("--out", type=path, required=True, help="the folder that gets auxiliary.npz")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="a key of the scenario"
    )
    parser.add_argument("--quick", action="store_true", help="as with `splitfed scenario --quick`")
    parser.add_argument("--data-root", type=path, help="where to look first")
    parser.set_defaults(command=_deal)


def _fetch(arguments: argparse.Namespace) -> int:
    from splitfed.data import fetch
    from splitfed.views.terminal.console import progress_bars

    with progress_bars() as on_progress:
        place = fetch(arguments.name, data_root=arguments.data_root, on_progress=on_progress)
    print(place if place is not None else f"{arguments.name} ships with splitfed: nothing to fetch")
    return OK


def _check(arguments: argparse.Namespace) -> int:
    from splitfed.config.load import data_options
    from splitfed.data.inspection import inspect
    from splitfed.views.terminal.console import progress_bars
    from splitfed.views.terminal.listing import show

    options = data_options("folder", arguments.overrides)
    with progress_bars() as on_progress:
        found = inspect(
            arguments.target,
            image_size=options.image_size,
            attribute=options.attribute,
            selection=options.selection,
            data_root=arguments.data_root,
            on_progress=on_progress,
        )
    show(found.rows())
    return OK


def _deal(arguments: argparse.Namespace) -> int:
    from splitfed.attacker.knowledge_files import save_auxiliary
    from splitfed.attacker.protocol import AUXILIARY
    from splitfed.config.load import load
    from splitfed.federation.shares import find_images, split_images
    from splitfed.views.terminal.console import progress_bars

    scenario = load(arguments.scenario, overrides=arguments.overrides, quick=arguments.quick)
    with progress_bars() as on_progress:
        dataset = find_images(
            scenario, arguments.data_root, on_notice=lambda text: print(text), on_progress=on_progress
        )
    auxiliary = split_images(scenario, dataset, scenario.seed).aux
    save_auxiliary(arguments.out, auxiliary)
    print(f"{arguments.out / AUXILIARY}: {len(auxiliary):,} images, none of them a client's")
    return OK
