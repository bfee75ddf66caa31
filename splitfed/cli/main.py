"""The command line: parse, build, run, close. Heavy packages are imported by the command that uses them."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splitfed import __version__, files
from splitfed.cli import output
from splitfed.errors import PluginError, SplitfedError, UnfinishedError, UserError

if TYPE_CHECKING:
    from splitfed.records.bus import Subscriber

OK, BUG, USER_MISTAKE, INVALID, INTERRUPTED, READER_LEFT = 0, 1, 2, 3, 130, 141

EXAMPLES = """\
examples:
  splitfed scenario medmnist_split             the main job: three defenses, tapped and attacked, one table
  splitfed scenario medmnist_split --quick     the same path within a minute, on fewer images
  splitfed scenario medmnist_split --set data.train=3000 --set 'defense=["none", "sca"]'
  splitfed scenario table3 --seeds 2 --jobs 2  every defense of the paper, two seeds, two cells at a time
  splitfed scenario --resume runs/medmnist_split-20260101-120000
  splitfed report runs/medmnist_split-20260101-120000 --format md
  splitfed report runs/medmnist_split-20260101-120000 --features
  splitfed data fetch medical_mnist            download once, with a checksum

exit codes: 0 ok, 1 a bug or unfinished cells, 2 your mistake, 3 finished but INVALID, 130 interrupted,
            141 nobody read the output to its end (as in `splitfed datasets | head -1`)
"""

CHECK_EXAMPLES = """\
examples:
  splitfed data check ~/xrays
  splitfed data check ~/xrays --set 'data.exclude=["*/masks/*"]' --set data.group_level=2
  splitfed data check breastmnist.npz
  splitfed data check medical_mnist

The keys and what they decide: docs/data.md. The same keys then go into a scenario, or after `splitfed scenario`.
"""

REPORT_EXAMPLES = """\
examples:
  splitfed report runs/medmnist_split-20260101-120000               writes report.html into the run
  splitfed report runs/medmnist_split-20260101-120000 --format md   prints the table
  splitfed report runs/medmnist_split-20260101-120000 --output a.html   writes it there, of a run that is read-only, say
  splitfed report runs/medmnist_split-20260101-120000 --features    adds what two layers keep of class and individual;
                                                                    later reports show it without the option
"""


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


def _path(text: str) -> Path:
    try:
        return files.as_path(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interrupt() -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="splitfed",
        description="A laboratory for privacy in federated split learning: train it, tap it, attack it, measure it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"splitfed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_scenario(commands)
    for kind, about in (
        ("scenarios", "the scenarios that there are, one line each"),
        ("defenses", "the defenses that there are, one line each"),
        ("attacks", "the attacks that there are, one line each"),
        ("datasets", "the data sets that there are, one line each"),
    ):
        listing = commands.add_parser(kind, help=about)
        listing.set_defaults(command=_list, kind=kind)
    _add_report(commands)
    _add_data(commands)
    _add_bench(commands)
    attacker = commands.add_parser("attacker", help="the attacker's role: relay, record, reconstruct")
    attacker.add_argument("--config", type=_path, required=True, help="a JSON or TOML file, see attacker/README.md")
    attacker.add_argument(
        "--ends-with", type=int, metavar="FD", help="end when this pipe closes: the lab ties the role to itself by it"
    )
    attacker.set_defaults(command=_attacker)
    doctor = commands.add_parser("doctor", help="what is installed, found, missing, and the cure")
    doctor.add_argument("--data-root", type=_path, help="where to look for data sets first")
    doctor.set_defaults(command=_doctor)
    return parser


def _add_scenario(commands: Any) -> None:
    scenario = commands.add_parser(
        "scenario",
        help="run an experiment: train, tap, attack, measure",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scenario.add_argument("name", nargs="?", help="a scenario's name (see `splitfed scenarios`) or a .toml file")
    scenario.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override a key; repeatable"
    )
    scenario.add_argument("--seeds", type=int, metavar="N", help="repeat with N seeds")
    scenario.add_argument("--quick", action="store_true", help="the file's [quick] settings: a look, not a result")
    scenario.add_argument("--data-root", type=_path, help="where to look for data sets first")
    scenario.add_argument("--out", type=_path, default=Path("runs"), help="where run directories are made (runs)")
    scenario.add_argument("--resume", type=_path, metavar="RUN", help="go on with this run; finished cells are kept")
    scenario.add_argument(
        "--share",
        action="store_true",
        help="let others read the run, as far as your umask does; it holds private images and is yours alone otherwise",
    )
    scenario.add_argument("--jobs", type=int, default=1, metavar="N", help="run N cells at a time (1)")
    scenario.add_argument(
        "--runner", choices=("local", "ray"), default="local", help="where cells run: here, or on a Ray cluster"
    )
    scenario.add_argument(
        "--live",
        choices=("auto", "terminal", "plain", "none"),
        default="auto",
        help="how to show progress; auto: the live view in a terminal, plain lines elsewhere",
    )
    scenario.set_defaults(command=_scenario)


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="the results of a run, as a page or a table",
        epilog=REPORT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("run", type=_path, help="a run directory")
    report.add_argument("--format", choices=("html", "csv", "json", "latex", "md"), default="html")
    report.add_argument(
        "--output",
        type=_path,
        metavar="FILE",
        help="where to write it, as UTF-8: report.html in the run by default, standard output for a table",
    )
    report.add_argument(
        "--features",
        action="store_true",
        help="first train three small classifiers on the run's images, to show features after two linear, two "
        "convolutional and two sparse coding layers by UMAP; needs the extra umap and some minutes",
    )
    report.add_argument("--data-root", type=_path, help="where --features looks for the data set first")
    report.set_defaults(command=_report)


def _add_data(commands: Any) -> None:
    parser = commands.add_parser("data", help="list or fetch data sets")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    actions.add_parser("list", help="what there is").set_defaults(command=_list, kind="datasets")
    fetch = actions.add_parser("fetch", help="find or download a data set and decode it into the cache")
    fetch.add_argument("name")
    fetch.add_argument("--data-root", type=_path, help="where to look first")
    fetch.set_defaults(command=_fetch)
    check = actions.add_parser(
        "check",
        help="what would be read: classes, counts, sizes, patients, duplicates, skipped files",
        epilog=CHECK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("target", metavar="PATH|NAME", help="a folder, an archive or an .npz; or a data set's name")
    check.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="a key of a scenario's data"
    )
    check.add_argument("--data-root", type=_path, help="where to look first")
    check.set_defaults(command=_check)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure speed and memory; one JSON line per case")
    bench.add_argument("what", choices=("scl", "wire", "scenario"))
    bench.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on; try --help")
    bench.set_defaults(command=_bench)


def _scenario(arguments: argparse.Namespace) -> int:
    from splitfed.config.load import load
    from splitfed.config.recorded import recorded_scenario
    from splitfed.records.store import RunStore

    if arguments.resume is not None:
        scenario = recorded_scenario(RunStore.open(arguments.resume))
        _check_resumed(arguments, scenario.name)
    elif arguments.name is None:
        raise UserError("which scenario? `splitfed scenarios` lists them; the main job is medmnist_split")
    else:
        overrides = list(arguments.overrides)
        if arguments.seeds is not None:
            overrides.append(f"seeds={arguments.seeds}")
        scenario = load(arguments.name, overrides=overrides, quick=arguments.quick)
    return _run_scenario(scenario, arguments)


def _check_resumed(arguments: argparse.Namespace, name: str) -> None:
    if arguments.overrides or arguments.seeds is not None or arguments.quick:
        raise UserError(
            "--resume goes on with the settings that the run was started with: leave out --set, --seeds, --quick"
        )
    if arguments.share:
        opened = f"chmod -R go+rX {arguments.resume}"
        raise UserError(f"--resume leaves a run as open as it is: leave out --share, and open it with: {opened}")
    if arguments.name not in (None, name):
        raise UserError(f"{arguments.resume} is a run of {name}, not of {arguments.name}")


def _run_scenario(scenario: Any, arguments: argparse.Namespace) -> int:
    watched = _Watched(arguments.data_root)
    failure: Exception | None = None
    with _view(arguments.live) as view:
        from splitfed.experiment.run import run

        subscribers: list[Subscriber] = [watched] if view is None else [watched, view]
        try:
            store = run(
                scenario,
                out=arguments.out,
                data_root=arguments.data_root,
                resume=arguments.resume,
                jobs=arguments.jobs,
                runner=arguments.runner,
                share=arguments.share,
                subscribers=subscribers,
            )
        except KeyboardInterrupt:
            return _interrupted(watched)
        except OSError as error:
            raise _broken_off(error, watched) from error
        except (SplitfedError, RuntimeError) as error:
            failure = error
    if failure is not None:
        _show_what_is_finished(watched)
        raise failure
    _show(store)
    return OK if store.results.valid else INVALID


def _show(store: Any) -> None:
    from splitfed.views.report.report import write_report

    write_report(store)
    with output.reader_may_leave():
        _print_table(store.results)
        print(f"\n{store.path}/: results.json, report.html, images/; {_size(store)} in all")


def _show_what_is_finished(watched: _Watched) -> None:
    """Where a cell failed, the others are worth their table all the same."""
    if watched.run_dir is not None and watched.store().finished_cells():
        with suppress(SplitfedError, OSError):  # what is told next weighs more
            _show(watched.store())


def _interrupted(watched: _Watched) -> int:
    if watched.run_dir is None:
        output.complain("interrupted before the run began")
    else:
        output.complain(f"interrupted; go on with: {watched.go_on}")
    return INTERRUPTED


def _broken_off(error: OSError, watched: _Watched) -> Exception:
    """What to say where the machine ended a run, a full disk say; the error itself where it may be a bug."""
    if watched.run_dir is None or files.explain(error) is None:
        return error
    where = Path(watched.run_dir) if error.filename is None else None
    return UserError(f"the run was cut short: {files.explain(error, where)}; then go on with: {watched.go_on}")


class _Watched:
    """Remembers where the run lies."""

    def __init__(self, data_root: Path | None) -> None:
        self.run_dir: str | None = None
        self._data_root = data_root

    def __call__(self, event: object) -> None:
        from splitfed.records.events import RunStarted

        if isinstance(event, RunStarted):
            self.run_dir = event.run_dir

    @property
    def go_on(self) -> str:
        """The command that goes on with the run."""
        root = [] if self._data_root is None else ["--data-root", str(self._data_root)]
        return shlex.join(["splitfed", "scenario", "--resume", str(self.run_dir), *root])

    def store(self) -> Any:
        from splitfed.records.store import RunStore

        assert self.run_dir is not None
        return RunStore.open(Path(self.run_dir))


def _view(kind: str) -> AbstractContextManager[Subscriber | None]:
    """The live view where there is a terminal, plain lines elsewhere, unless the user chose."""
    if kind == "none":
        return nullcontext(None)
    if kind == "terminal" or (kind == "auto" and sys.stdout.isatty()):
        from splitfed.views.terminal.live import LiveView

        return LiveView()
    from splitfed.views.terminal.plain import PlainView

    return nullcontext(PlainView())


def _print_table(results: Any) -> None:
    from splitfed.views.table import results_table
    from splitfed.views.terminal.console import ViewConsole

    ViewConsole().print(results_table(results))


def _size(store: Any) -> str:
    from splitfed.views.text import byte_count

    return byte_count(files.size_bytes(store.path))


def _report(arguments: argparse.Namespace) -> int:
    from splitfed.records.store import RunStore
    from splitfed.views.report.report import WITH_OUTPUT, write_report

    store = RunStore.open(arguments.run)
    if arguments.features:
        _measure_features(store, arguments)
    if arguments.format == "html":
        print(write_report(store, arguments.output))
        return OK
    text = _as_text(store, arguments.format)
    if arguments.output is None:
        print(text)
    else:
        files.write_whole(arguments.output, f"{text}\n".encode(), elsewhere=WITH_OUTPUT)
        print(arguments.output)
    return OK


def _as_text(store: Any, form: str) -> str:
    from splitfed.views import table

    results = store.results
    if form == "json":
        return str((store.path / "results.json").read_text(encoding="utf-8")).rstrip("\n")
    writers = {"csv": table.to_csv, "latex": table.to_latex, "md": _markdown}
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
    from splitfed.views import attacks, ledger, table

    parts = (table.to_markdown(results), attacks.to_markdown(results), ledger.to_markdown(results))
    return "\n".join(part for part in parts if part)


def _list(arguments: argparse.Namespace) -> int:
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
    from splitfed.defenses import describe as describe_defenses

    return describe_defenses()


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
            size=options.image_size,
            attribute=options.attribute,
            selection=options.selection,
            data_root=arguments.data_root,
            on_progress=on_progress,
        )
    show(found.rows())
    return OK


def _bench(arguments: argparse.Namespace) -> int:
    from importlib import import_module

    code: int = import_module(f"splitfed.bench.{arguments.what}").main(arguments.arguments)
    return code


def _attacker(arguments: argparse.Namespace) -> int:
    from splitfed.attacker.role import run

    output.speak_utf8()  # the lab reads it, not a person
    try:
        return run(arguments.config, ends_with=arguments.ends_with)
    except PluginError:
        traceback.print_exc()  # a log is the place for where in the plug-in it happened
        raise


def _doctor(arguments: argparse.Namespace) -> int:
    from splitfed.cli.doctor import examine

    return OK if examine(arguments.data_root) else INVALID
