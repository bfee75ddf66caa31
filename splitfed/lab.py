"""The conductor: runs a scenario cell by cell.

Several clients hold private images and the front of a network, a Flower server the back. Clients stream activations
and get gradients; fronts are averaged each round. An attacker's process taps the wire and reconstructs the images.
Each cell ends with what the defense cost, what still leaked, and the gates that say whether to believe it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from splitfed import data, events, parallel
from splitfed.cell import CellRun, own_positions
from splitfed.data import Dataset, Splits
from splitfed.data.provenance import WAY_OUT, Provenance, check_same, provenance
from splitfed.data.splits import absent_classes
from splitfed.errors import DataError, TrainingFailed, UserError
from splitfed.events import Bus, Subscriber
from splitfed.files import as_open_as, as_path, check_place
from splitfed.machine import machine_manifest
from splitfed.metrics.fid import load_frechet_metrics
from splitfed.pictures import save_cells_compared
from splitfed.recorded import recorded_scenario
from splitfed.repeats import summarise
from splitfed.results import all_valid
from splitfed.scenario import Cell, Scenario
from splitfed.store import WITH_OUT, RunStore
from splitfed.tidy import identity, tidy
from splitfed.unfinished import CellFailure, Outcome, attempt, check_all_finished
from splitfed.verdict import (
    REFERENCE_GATE,
    failed_entry,
    judge,
    reference_gate,
    trivial_scores,
)

WITHOUT_LOCK = "no locks on this file system: nothing keeps a second process from resuming this run while it goes on"


def run(
    scenario: Scenario,
    *,
    out: str | Path = "runs",
    data_root: str | Path | None = None,
    resume: str | Path | None = None,
    jobs: int = 1,
    runner: str = "local",
    share: bool = False,
    subscribers: Sequence[Subscriber] = (),
) -> dict[str, Any]:
    """Run a scenario, or go on with one, and return its results (the content of `results.json`).

    Args:
        scenario: what to run; a resumed run must have been started with the same one.
        out: where the run directory is made.
        data_root: where to look for data sets first.
        resume: the directory of a run to go on with; its finished cells are kept.
        jobs: cells at a time, each in a process of its own where there are several.
        runner: ``local``, or ``ray`` to spread the cells over a Ray cluster.
        share: whether others may read the run, as far as this user's umask lets them. It holds private images: else it
            is this user's alone. One that is resumed stays as open as it is.
        subscribers: called with every event.

    A cell that cannot be trained with its settings is INVALID, one that fails otherwise is left out; the others run
    all the same.

    Raises:
        UserError: data that cannot be found or shared, a run that cannot be resumed or that another process runs, a
            place that cannot be written, or no Ray; or a cell that waits for the user.
        UnfinishedError: a cell that failed for a reason that may not come again.
        RuntimeError: a cell that met a bug.
    """
    parallel.leave_if_unguarded()
    if jobs < 1:
        raise UserError(f"jobs is {jobs}; at least 1 cell runs at a time")
    out, data_root = as_path(out), None if data_root is None else as_path(data_root)
    resumed = None if resume is None else _reopen(scenario, as_path(resume))
    # what is missing is said before there is a directory that would be left behind
    check_place(out if resumed is None else resumed.path, elsewhere=WITH_OUT)
    load_frechet_metrics(scenario.metrics)
    bus = Bus(*subscribers)
    with ExitStack() as held:
        alone = resumed is None or held.enter_context(resumed.running())
        dataset, splits = load_images(scenario, data_root, bus, of_run=resumed)
        for seed in sorted({cell.seed for cell in scenario.cells()}):
            own_positions(scenario, splits.train.labels, seed)
        store = held.enter_context(resumed or _create(scenario, out, provenance(dataset, data_root), share))
        if resumed is None:
            alone = held.enter_context(store.running())
        held.enter_context(one_thread())
        bus.keep_record(store.append_event)
        lab = Lab(scenario, store, bus, dataset, splits)
        if not alone:
            lab.notice(WITHOUT_LOCK)
        return lab.run(partial(_spread, lab, jobs, runner, data_root))


def _spread(lab: Lab, jobs: int, runner: str, data_root: Path | None, cells: Sequence[Cell]) -> None:
    """Run these cells: one after the other here, or several at a time elsewhere."""
    if jobs == 1 and runner == "local":
        for cell in cells:
            lab.close(cell, attempt(partial(lab.measure, cell)))
        return
    elsewhere = partial(_measure_elsewhere, lab.store.path.resolve(), data_root and data_root.resolve())
    _run_cells(runner)(cells, elsewhere, jobs=jobs, on_event=lab.bus.emit, on_outcome=lab.close)


def _run_cells(runner: str) -> Callable[..., None]:
    if runner == "ray":
        from splitfed.ray_cells import run_cells  # an optional extra

        return run_cells
    return parallel.run_cells


def _measure_elsewhere(run_dir: Path, data_root: Path | None, cell: Cell, say: Subscriber) -> dict[str, Any]:
    """What a process or a machine of its own does for one cell of this run."""
    store = RunStore.open(run_dir)
    scenario = recorded_scenario(store)
    dataset, splits = load_images(scenario, data_root, Bus(), of_run=store)
    with as_open_as(run_dir), one_thread():
        return Lab(scenario, store, Bus(record=say), dataset, splits).measure(cell)


class Lab:
    """One run: its images, its store, and its cells."""

    def __init__(self, scenario: Scenario, store: RunStore, bus: Bus, dataset: Dataset, splits: Splits) -> None:
        self.scenario = scenario
        self.store = store
        self.bus = bus
        self.dataset = dataset
        self.splits = splits
        self.unfinished: dict[str, CellFailure] = {}
        """Cells that ended without an entry, by name."""
        self.frechet_metrics = load_frechet_metrics(scenario.metrics)
        self.majority_rate = float(torch.bincount(splits.test.labels).max()) / len(splits.test)
        """The accuracy of always naming the most frequent class of the held-out images."""
        self.trivial = trivial_scores(self.splits.aux, self.splits.train)

    def run(self, spread: Callable[[Sequence[Cell]], None]) -> dict[str, Any]:
        """Have `spread` run all cells that are not finished yet, and record them; see the function `run`."""
        finished = set(self.store.finished_cells())
        cells = self.scenario.cells()
        self.bus.emit(
            events.RunStarted(
                scenario=self.scenario.name,
                run_dir=str(self.store.path),
                threat=self.scenario.threat,
                dataset=self.dataset.name,
                synthetic=self.dataset.synthetic,
                cells=tuple(cell.name for cell in cells),
                finished=tuple(cell.name for cell in cells if cell.name in finished),
            )
        )
        self.notice(self.dataset.described(), level="info")
        if not any(cell.defense.name == "none" for cell in cells):
            self.notice("no undefended cell in this run: nothing shows that this attacker works at all")
        for metric in self.frechet_metrics:
            if len(self.splits.train) < metric.needed:
                self.notice(f"{metric.requirement}, this run has {len(self.splits.train):,}: it is left out")
        if not self.store.has_results:
            self.store.save_results(self._results([]))
        for entry in self._entries():
            self._tidy(entry)
        spread([cell for cell in cells if cell.name not in finished])
        results: dict[str, Any] = {**self.store.results}
        first_seed = [entry for entry in results["cells"] if entry["seed"] == self.scenario.seed]
        try:
            save_cells_compared(self.store, CellRun(self, cells[0]).truth, first_seed, self.notice)
        finally:
            check_all_finished(self.unfinished, len(cells), self.store.path)
        self.bus.emit(events.RunFinished(results=results, valid=results["valid"]))
        return results

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Train, tap, attack and judge one cell: its entry in the results, also where it cannot be trained."""
        self.bus.emit(
            events.CellStarted(
                cell=cell.name,
                defense=cell.defense.name,
                seed=cell.seed,
                rounds=self.scenario.federation.rounds,
                clients=self.scenario.federation.clients,
            )
        )
        try:
            return CellRun(self, cell).run()
        except TrainingFailed as failure:
            return failed_entry(cell=cell, majority_rate=self.majority_rate, reason=str(failure))

    def close(self, cell: Cell, outcome: Outcome) -> None:
        """Record what became of a cell: its entry, or why there is none."""
        if isinstance(outcome, CellFailure):
            self.unfinished[cell.name] = outcome
            self.bus.emit(events.CellUnfinished(cell=cell.name, reason=outcome.reason))
        else:
            self.record(cell, outcome)

    def record(self, cell: Cell, entry: dict[str, Any]) -> None:
        """Add a finished cell to the results."""
        entries = [e for e in self._entries() if e["cell"] != cell.name] + [entry]
        self._apply_reference(entries, cell.seed)
        self.store.save_results(self._results(entries))
        self._tidy(entry)
        self.bus.emit(events.CellFinished(cell=cell.name, result=entry))

    def _tidy(self, entry: Mapping[str, Any]) -> None:
        """Delete what nobody reads of a cell that is finished."""
        keep_training = self.scenario.attacker.keep_rounds == 0
        folder, strongest = self.store.cell_dir(entry["cell"]), entry["strongest"]
        try:
            tidy(folder, identity(self.splits.aux), strongest=strongest, keep_training=keep_training)
        except UserError as error:  # the cell is finished all the same, and the next resume tidies again
            self.notice(f"{entry['cell']}: {error}")

    def _apply_reference(self, entries: list[dict[str, Any]], seed: int) -> None:
        """The undefended cell of a seed vouches for the attacker in all cells of that seed."""
        of_seed = [entry for entry in entries if entry["seed"] == seed]
        reference = next((entry for entry in of_seed if entry["defense"] == "none"), None)
        if reference is None:
            return
        gate = reference_gate(reference, self.trivial, self.scenario.attacker.margin_db)
        for entry in of_seed:
            if REFERENCE_GATE not in entry["gates"]:
                judge(entry, [gate])

    def _entries(self) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self.store.results["cells"]]

    def _results(self, entries: list[dict[str, Any]]) -> Any:
        order = [cell.name for cell in self.scenario.cells()]
        cells: Any = sorted(entries, key=lambda entry: order.index(entry["cell"]))
        return {
            "schema": 1,
            "scenario": self.scenario.name,
            "threat": self.scenario.threat,
            "dataset": {
                "name": self.dataset.name,
                "synthetic": self.dataset.synthetic,
                "shape": tuple(self.splits.train.shape),
                "classes": len(self.splits.train.classes),
                "train": len(self.splits.train),
                "aux": len(self.splits.aux),
                "test": len(self.splits.test),
                "note": self.dataset.note,
                "caveat": self.dataset.caveat,
                "identity": self.dataset.identity,
                "images": self.dataset.counts,
                "skipped": dict(self.dataset.found.skipped),
                "remarks": list(self.dataset.found.remarks),
            },
            "trivial": self.trivial,
            "cells": cells,
            "summary": summarise(cells),
            "valid": all_valid(entries),
        }

    def notice(self, message: str, level: str = "warning") -> None:
        """Tell the user."""
        self.bus.emit(events.Notice(message=message, level=level))


def _create(scenario: Scenario, out: Path, images: Provenance, share: bool = False) -> RunStore:
    settings = {"scenario": scenario.model_dump(mode="json"), "images": images.model_dump(mode="json")}
    return RunStore.create(out, scenario.name, {**settings, **machine_manifest()}, share=share)


def _reopen(scenario: Scenario, resume: Path) -> RunStore:
    store = RunStore.open(resume)
    if recorded_scenario(store) != scenario:
        raise UserError(f"{resume} was started with other settings; resume it without --set, or start a new run")
    return store


def load_images(
    scenario: Scenario, data_root: Path | None, bus: Bus, *, of_run: RunStore | None = None
) -> tuple[Dataset, Splits]:
    """The scenario's images, split; the same ones each time.

    Args:
        scenario: says which images.
        data_root: where to look first.
        bus: told of a fallback and of progress.
        of_run: a run that was started on them before: then no fallback stands in, and other images are refused.

    Raises:
        DataError: they cannot be found, are fewer than the scenario wants, or are not those of the run.
    """
    dataset = _load_new(scenario, data_root, bus) if of_run is None else _load_again(scenario, data_root, bus, of_run)
    options = scenario.data
    splits = data.split(
        dataset, train=options.train, aux=options.aux, test=options.test, seed=scenario.seed, by=options.split
    )
    for absent in absent_classes(splits):
        bus.emit(events.Notice(message=f"{absent}: scores say nothing of it", level="warning"))
    return dataset, splits


def _load_new(scenario: Scenario, data_root: Path | None, bus: Bus) -> Dataset:
    options = scenario.data
    return data.load(
        options.name,
        size=options.size,
        data_root=data_root,
        fallback=options.fallback,
        path=Path(options.path) if options.path else None,
        attribute=options.attribute,
        selection=options.selection,
        on_notice=lambda message: bus.emit(events.Notice(message=message, level="banner")),
        on_progress=_Throttled(bus),
    )


def _load_again(scenario: Scenario, data_root: Path | None, bus: Bus, run: RunStore) -> Dataset:
    """The images that a run was started on, from where they were found unless the user names another place."""
    recorded = _recorded_images(run)
    options = scenario.data
    own = recorded.name == options.name
    try:
        dataset = data.load(
            recorded.name,
            size=options.size if own else recorded.size,
            data_root=data_root or (recorded.root if recorded.root and recorded.root.is_dir() else None),
            path=_path_again(options.path, data_root, recorded) if own else None,
            attribute=options.attribute if own else None,
            selection=options.selection if own else None,
            on_progress=_Throttled(bus),
        )
    except DataError as error:
        where = f" at {recorded.location}" if recorded.location else ""
        raise DataError(
            f"{run.path} was started on {recorded.images:,} images of {recorded.name}{where}: {error}. {WAY_OUT}"
        ) from error
    check_same(recorded, dataset, run.path)
    return dataset


def _path_again(path: str | None, data_root: Path | None, recorded: Provenance) -> Path | None:
    """The scenario's path; where it was found before, if that is still there and no other place is named."""
    if path is None or data_root is not None or recorded.location is None or not recorded.location.exists():
        return None if path is None else Path(path)
    return recorded.location


def _recorded_images(run: RunStore) -> Provenance:
    try:
        return Provenance.model_validate(run.manifest["images"])
    except (KeyError, ValidationError):
        raise UserError(
            f"{run.path} does not say which images it was started on, as it was made by another version of splitfed; "
            "start a new run"
        ) from None


class _Throttled:
    """Progress of decoding or downloading as events, one per percent."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._last = ("", -1)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = (what, 100 * done // max(total, 1))
        if now != self._last:
            self._last = now
            self._bus.emit(events.PrepareProgress(cell="data", what=what, done=done, total=total))


@contextmanager
def one_thread() -> Iterator[None]:
    """Clients and server sessions are threads of their own; more within each would only compete.

    It also makes results independent of the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    try:
        yield
    finally:
        torch.set_num_threads(before)
