"""The conductor: runs a scenario cell by cell.

Several clients hold private images and the front of a network, a Flower server the back. Clients stream activations
and get gradients; fronts are averaged each round. An attacker's process taps the wire and reconstructs the images.
Each cell ends with what the defense cost, what still leaked, and the gates that say whether to believe it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from splitfed.config.recorded import recorded_scenario
from splitfed.config.scenario import Cell, Scenario
from splitfed.errors import UserError
from splitfed.experiment import blind_cell
from splitfed.experiment.blind_run import BlindKeeper, BlindRun
from splitfed.experiment.cell import measure
from splitfed.experiment.context import RunContext
from splitfed.experiment.images import load_images
from splitfed.experiment.provenance import provenance
from splitfed.experiment.results_keeper import ResultsKeeper
from splitfed.experiment.stage import OnThisMachine, Train
from splitfed.experiment.threads import one_thread
from splitfed.federation.shares import own_positions
from splitfed.files import as_open_as, as_path, check_place
from splitfed.metrics.fid import load_frechet_metrics
from splitfed.records.bus import Bus, Subscriber
from splitfed.records.manifest import Manifest, Provenance
from splitfed.records.results import CellResult
from splitfed.records.store import WITH_OUT, RunStore
from splitfed.runners import local_clients, processes
from splitfed.runners.unfinished import attempt

WITHOUT_LOCK = "no locks on this file system: nothing keeps a second process from resuming this run while it goes on"


def run(
    scenario: Scenario,
    *,
    out: str | Path = "runs",
    data_root: str | Path | None = None,
    resume: str | Path | None = None,
    jobs: int = 1,
    runner: str = "local",
    superlink: str | None = None,
    certs: str | Path | None = None,
    share: bool = False,
    subscribers: Sequence[Subscriber] = (),
) -> RunStore:
    """Run a scenario, or go on with one, and return its directory, which holds the results.

    Arguments and errors are those of `splitfed.run`, which is this with a view of the results.
    """
    processes.leave_if_unguarded()
    if jobs < 1:
        raise UserError(f"jobs is {jobs}; at least 1 cell runs at a time")
    if runner == "deploy" and jobs > 1:
        raise UserError("a deployment has one server, which trains one cell at a time: leave --jobs out")
    if runner == "deploy" and scenario.seeds > 1 and scenario.data.resplit and scenario.truth == "lab":
        raise UserError(
            "a deployed attacker is dealt its images once, and each seed splits them anew: set data.resplit=false for "
            "one split in all seeds, or run the seeds one by one"
        )
    if superlink is not None and runner != "deploy":
        raise UserError("--superlink names a federation that runs already: it goes with --runner deploy")
    if runner == "deploy" and scenario.attacker.vantage != "wire":
        raise UserError(
            'a deployed attacker stands at the wire: attacker.vantage = "server" goes with --runner local or ray'
        )
    if certs is not None and superlink is None:
        raise UserError("--certs are of a federation that runs already: they go with --superlink")
    if superlink is not None and scenario.federation.tls != (certs is not None):
        raise UserError("federation.tls and --certs go together: the lab's own folder of what splitfed certs made")
    if scenario.truth == "clients" and superlink is None:
        raise UserError(
            'truth = "clients" leaves this lab without images: it needs a federation whose clients hold theirs '
            "(--runner deploy --superlink HOST:PORT)"
        )
    out, data_root = as_path(out), None if data_root is None else as_path(data_root)
    certs = None if certs is None else as_path(certs)
    resumed = None if resume is None else _reopen(scenario, as_path(resume))
    # what is missing is said before there is a directory that would be left behind
    check_place(out if resumed is None else resumed.path, elsewhere=WITH_OUT)
    load_frechet_metrics(scenario.metrics)
    bus = Bus(*subscribers)
    with ExitStack() as held:
        alone = resumed is None or held.enter_context(resumed.running())
        dataset, splits = load_images(scenario, data_root, bus, of_run=resumed)
        if scenario.truth == "lab":
            for seed in sorted({cell.seed for cell in scenario.cells()}):
                own_positions(scenario, splits.train.labels, seed)
        store = held.enter_context(resumed or _create(scenario, out, provenance(dataset, data_root), share))
        if resumed is None:
            alone = held.enter_context(store.running())
        held.enter_context(one_thread())
        bus.keep_record(store.append_event)
        context = RunContext(scenario, store, bus, dataset, splits)
        if not alone:
            context.notice(WITHOUT_LOCK)
        record = ResultsKeeper(context)
        if scenario.truth == "clients":
            context = BlindRun.of(context)
            record = BlindKeeper(context)
        cells = record.begin()
        if runner == "deploy":
            _order(context, record, cells, superlink=superlink, certs=certs, data_root=data_root)
        else:
            _spread(context, record, cells, jobs=jobs, runner=runner, data_root=data_root)
        record.finish()
    return store


def _spread(
    context: RunContext, record: ResultsKeeper, cells: Sequence[Cell], *, jobs: int, runner: str, data_root: Path | None
) -> None:
    """Run these cells: one after the other with the server here, or several at a time elsewhere."""
    if jobs == 1:
        stage = OnThisMachine(_train(context, runner))
        for cell in cells:
            record.close(cell, attempt(partial(measure, context, cell, stage)))
        return
    elsewhere = partial(_measure_elsewhere, context.store.path.resolve(), data_root and data_root.resolve())
    _run_cells(runner)(cells, elsewhere, jobs=jobs, on_event=context.bus.emit, on_outcome=record.close)


def _order(
    context: RunContext,
    record: ResultsKeeper,
    cells: Sequence[Cell],
    *,
    superlink: str | None,
    certs: Path | None,
    data_root: Path | None,
) -> None:
    """Run these cells in a federation of processes: one that runs already, or one that is started for this."""
    from splitfed.experiment.deployed import InFederation
    from splitfed.experiment.deployment import deployment
    from splitfed.roles.membership import Membership

    with ExitStack() as held:
        if superlink is None:
            place = deployment(
                context.store.path / "deployment",
                clients=context.scenario.federation.clients,
                data_root=data_root,
                auxiliary=context.splits.aux,
                sealed=context.scenario.federation.tls,
            )
            membership = held.enter_context(place)
        else:
            membership = Membership.of(superlink, certs)
        stage = held.enter_context(InFederation(membership))
        for cell in cells:
            if isinstance(context, BlindRun):
                record.close(cell, attempt(partial(blind_cell.measure, context, cell, stage)))
            else:
                record.close(cell, attempt(partial(measure, context, cell, stage)))


def _train(context: RunContext, runner: str) -> Train:
    """Where the clients of a cell run that takes place here."""
    if runner == "ray":
        from splitfed.runners import ray_clients  # an optional extra

        ray_clients.check(context.notice)
        return ray_clients.train
    return local_clients.train


def _run_cells(runner: str) -> Callable[..., None]:
    if runner == "ray":
        from splitfed.runners.ray_cluster import run_cells  # an optional extra

        return run_cells
    return processes.run_cells


def _measure_elsewhere(run_dir: Path, data_root: Path | None, cell: Cell, say: Subscriber) -> CellResult:
    """What a process or a machine of its own does for one cell of this run."""
    store = RunStore.open(run_dir)
    scenario = recorded_scenario(store)
    dataset, splits = load_images(scenario, data_root, Bus(), of_run=store)
    with as_open_as(run_dir), one_thread():
        return measure(RunContext(scenario, store, Bus(record=say), dataset, splits), cell)


def _create(scenario: Scenario, out: Path, images: Provenance, share: bool = False) -> RunStore:
    manifest = Manifest.of(scenario.model_dump(mode="json"), images)
    return RunStore.create(out, scenario.name, manifest, share=share)


def _reopen(scenario: Scenario, resume: Path) -> RunStore:
    store = RunStore.open(resume)
    if recorded_scenario(store) != scenario:
        raise UserError(f"{resume} was started with other settings; resume it without --set, or start a new run")
    return store
