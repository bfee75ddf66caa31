"""``splitfed report``: the results of a run, as a page or a table."""

from __future__ import annotations

import argparse
import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from splitfed import files
from splitfed.cli.arguments import path
from splitfed.cli.exit_codes import OK
from splitfed.errors import UserError

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands

EXAMPLES = """\
examples:
  splitfed report runs/medmnist_split-20260101-120000               writes report.html into the run
  splitfed report runs/medmnist_split-20260101-120000 --format md   prints the table
  splitfed report runs/medmnist_split-20260101-120000 --output a.html   writes it there, of a run that is read-only, say
  splitfed report runs/medmnist_split-20260101-120000 --format tensorboard   writes for it, and prints how to start it
  splitfed report runs/medmnist_split-20260101-120000 --features    adds what two layers keep of class and individual;
                                                                    later reports show it without the option
"""


def add_parser(commands: Commands) -> None:
    """``splitfed report``."""
    parser = commands.add_parser(
        "report",
        help="the results of a run, as a page or a table",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=path, help="a run directory")
    parser.add_argument("--format", choices=("html", "csv", "json", "latex", "md", "tensorboard"), default="html")
    parser.add_argument(
        "--output",
        type=path,
        metavar="FILE",
        help="where to write it, as UTF-8: report.html in the run by default, standard output for a table; for "
        "TensorBoard a folder, tensorboard/ in the run by default",
    )
    parser.add_argument(
        "--features",
        action="store_true",
        help="first train three small classifiers on the run's images, to show features after two linear, two "
        "convolutional and two sparse coding layers by UMAP; needs the extra umap and some minutes",
    )
    parser.add_argument("--data-root", type=path, help="where --features looks for the data set first")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Write or print what a run found; measure its features first where that was asked for."""
    from splitfed.records.store import RunStore
    from splitfed.views.report.report import WITH_OUTPUT, write_report

    store = RunStore.open(arguments.run)
    if arguments.features:
        _measure_features(store, arguments)
    if arguments.format == "html":
        print(write_report(store, arguments.output))
        return OK
    if arguments.format == "tensorboard":
        _write_tensorboard(store, arguments)
        return OK
    text = _as_text(store, arguments.format)
    if arguments.output is None:
        print(text)
    else:
        files.write_whole(arguments.output, f"{text}\n".encode(), elsewhere=WITH_OUTPUT)
        print(arguments.output)
    return OK


def _write_tensorboard(store: Any, arguments: argparse.Namespace) -> None:
    from splitfed.views import tensorboard

    with nullcontext() if arguments.output else files.as_open_as(store.path):
        folder = tensorboard.write(store, arguments.output)
    print(shlex.join(["tensorboard", "--logdir", str(folder)]))


def _as_text(store: Any, form: str) -> str:
    from splitfed.views import csv_table, table

    results = store.results
    if form == "json":
        return str((store.path / "results.json").read_text(encoding="utf-8")).rstrip("\n")
    writers = {"csv": csv_table.to_csv, "latex": table.to_latex, "md": _markdown}
    return writers[form](results).rstrip("\n")


def _measure_features(store: Any, arguments: argparse.Namespace) -> None:
    if arguments.format != "html":
        raise UserError(f"--features is shown in the HTML report: leave out --format {arguments.format}")
    from splitfed.experiment.feature_analysis import measure
    from splitfed.records import features as feature_record
    from splitfed.views.report.report import write_report
    from splitfed.views.terminal.plain import PlainView

    write_report(store, arguments.output)  # what stands in its way is said before the training
    files.check_place(store.path)
    feature_record.save(store.path, measure(store, data_root=arguments.data_root, subscribers=[PlainView()]))


def _markdown(results: Any) -> str:
    from splitfed.views import attacks, beside_published, bounds, table

    shown = (table, bounds, attacks, beside_published)
    return "\n".join(part for view in shown if (part := view.to_markdown(results)))
