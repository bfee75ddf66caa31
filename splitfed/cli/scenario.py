"""``splitfed scenario``: run an experiment, watch it, and print its table."""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splitfed import files
from splitfed.cli import exit_codes, output
from splitfed.cli.arguments import path
from splitfed.cli.exit_codes import INTERRUPTED
from splitfed.errors import SplitfedError, UserError

if TYPE_CHECKING:
    from splitfed.cli.arguments import Commands
    from splitfed.records.bus import Subscriber

IN_THE_RUN = Path("tensorboard in the run")
"""Stands for the folder that nobody can name before the run begins."""
FREE_PORT = -1
"""Stands for the first free port, as zero does for any."""
EXAMPLES = """\
examples:
  splitfed scenario medmnist_split             the main job: three defenses, tapped and attacked, one table
  splitfed scenario medmnist_split --quick     the same path in a minute or two, on fewer images
  splitfed scenario medmnist_split --set data.train=3000 --set 'defense=["none", "sca"]'
  splitfed scenario table3 --seeds 2 --jobs 2  every defense of the paper, two seeds, two cells at a time
  splitfed scenario --resume runs/medmnist_split-20260101-120000
  splitfed report runs/medmnist_split-20260101-120000 --format md
  splitfed report runs/medmnist_split-20260101-120000 --features
  splitfed data fetch medical_mnist            download once, with a checksum

exit codes: 0 ok, 1 a bug or unfinished cells, 2 your mistake, 3 finished but INVALID, 130 interrupted,
            141 nobody read the output to its end (as in `splitfed datasets | head -1`)
"""


def add_parser(commands: Commands) -> None:
    """``splitfed scenario``."""
    parser = commands.add_parser(
        "scenario",
        help="run an experiment: train, tap, attack, measure",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="a scenario's name (see `splitfed scenarios`) or a .toml file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="override a key; repeatable"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="repeat with N seeds")
    parser.add_argument("--quick", action="store_true", help="the file's [quick] settings: a look, not a result")
    parser.add_argument("--data-root", type=path, help="where to look for data sets first")
    parser.add_argument("--out", type=path, default=Path("runs"), help="where run directories are made (runs)")
    parser.add_argument("--resume", type=path, metavar="RUN", help="go on with this run; finished cells are kept")
    parser.add_argument(
        "--share",
        action="store_true",
        help="let others read the run, as far as your umask does; it holds private images and is yours alone otherwise",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="run N cells at a time (1)")
    parser.add_argument(
        "--runner",
        choices=("local", "deploy", "ray"),
        default="local",
        help="here; deploy: in a federation of processes; ray: a cell's clients on Flower's simulation engine, with "
        "--jobs cells on a Ray cluster",
    )
    parser.add_argument(
        "--superlink",
        metavar="HOST:PORT",
        help="with --runner deploy: a federation that runs already, see docs/deploy.md",
    )
    parser.add_argument("--certs", type=path, metavar="DIR", help="with --superlink: the lab's certificates, under TLS")
    parser.add_argument(
        "--live",
        choices=("auto", "terminal", "plain", "none"),
        default="auto",
        help="how to show progress; auto: the live view in a terminal, plain lines elsewhere",
    )
    parser.add_argument(
        "--web",
        nargs="?",
        type=int,
        const=FREE_PORT,
        metavar="PORT",
        help="show the run in a browser too, at the address that is printed; started in a terminal, the page stays "
        "after the run until Ctrl-C (`splitfed watch RUN` shows it again)",
    )
    parser.add_argument(
        "--tensorboard",
        nargs="?",
        type=path,
        const=IN_THE_RUN,
        metavar="DIR",
        help="also write for TensorBoard, into tensorboard/ of the run by default; needs the extra tensorboard",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Load or find the scenario, run it under a view, and show its table."""
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
    with _page(arguments.web) as page:
        code = _run_watched(scenario, arguments, page)
        if page is not None and page.alive and code in (exit_codes.OK, exit_codes.INVALID) and sys.stdout.isatty():
            print(f"\n{page.address} stays until Ctrl-C", flush=True)
            page.wait()
        return code


def _run_watched(scenario: Any, arguments: argparse.Namespace, page: Any) -> int:
    watched = _Watched(arguments.data_root)
    failure: Exception | None = None
    with _tensorboard(arguments.tensorboard) as board, _view(arguments.live) as view:
        from splitfed.experiment import run as experiment

        subscribers: list[Subscriber] = [each for each in (watched, view, page, board) if each is not None]
        try:
            store = experiment.run(
                scenario,
                out=arguments.out,
                data_root=arguments.data_root,
                resume=arguments.resume,
                jobs=arguments.jobs,
                runner=arguments.runner,
                superlink=arguments.superlink,
                certs=arguments.certs,
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
    return exit_codes.of_run(store.results.valid)


def _show(store: Any) -> None:
    from splitfed.views.report.report import write_report

    write_report(store)
    with output.reader_may_leave():
        _print_table(store.results)
        print(f"\n{store.path}/: results.json, report.html, images/; {_size(store)} in all")
        print(f"In a browser: splitfed watch {shlex.quote(str(store.path))}")


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


def _page(port: int | None) -> AbstractContextManager[Any]:
    """The page in a browser, where one is wanted."""
    if port is None:
        return nullcontext(None)
    from splitfed.cli.web_process import WebProcess

    page = WebProcess(None if port == FREE_PORT else port)
    with output.reader_may_leave():
        print(f"in a browser: {page.address}", flush=True)
    return page


def _tensorboard(folder: Path | None) -> AbstractContextManager[Any]:
    """What writes for TensorBoard, where that is wanted."""
    if folder is None:
        return nullcontext(None)
    from splitfed.views.tensorboard import TensorBoardView

    return TensorBoardView(None if folder is IN_THE_RUN else folder)


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
