"""The conductor: runs a scenario cell by cell.

Several clients hold private images and the front of a network, a Flower server the back. Clients stream activations
and get gradients; fronts are averaged each round. An attacker's process taps the wire and reconstructs the images.
Each cell ends with what the defense cost, what still leaked, and the gates that say whether to believe it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from splitfed import data, events, parallel
from splitfed.cell import CellRun
from splitfed.data import Dataset, Splits
from splitfed.errors import UserError
from splitfed.events import Bus, Subscriber
from splitfed.machine import machine_manifest
from splitfed.metrics.fid import load_frechet_metrics
from splitfed.pictures import save_cells_compared
from splitfed.repeats import summarise
from splitfed.results import all_valid
from splitfed.scenario import Cell, Scenario
from splitfed.store import RunStore
from splitfed.verdict import (
    REFERENCE_GATE,
    judge,
    reference_gate,
    trivial_scores,
)


def run(
    scenario: Scenario,
    *,
    out: Path = Path("runs"),
    data_root: Path | None = None,
    resume: Path | None = None,
    jobs: int = 1,
    runner: str = "local",
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
        subscribers: called with every event.

    Raises:
        UserError: data that cannot be found, a run that cannot be resumed, or no Ray.
    """
    if jobs < 1:
        raise UserError(f"jobs is {jobs}; at least 1 cell runs at a time")
    resumed = None if resume is None else _reopen(scenario, resume)
    # what is missing is said before there is a directory that would be left behind
    load_frechet_metrics(scenario.metrics)
    dataset, splits = load_images(scenario, data_root, Bus(*subscribers))
    with resumed or _create(scenario, out) as store, one_thread():
        lab = Lab(scenario, store, Bus(store.append_event, *subscribers), dataset, splits)
        return lab.run(partial(_spread, lab, jobs, runner, data_root))


def _spread(lab: Lab, jobs: int, runner: str, data_root: Path | None, cells: Sequence[Cell]) -> None:
    """Run these cells: one after the other here, or several at a time elsewhere."""
    if jobs == 1 and runner == "local":
        for cell in cells:
            lab.record(cell, lab.measure(cell))
        return
    elsewhere = partial(_measure_elsewhere, lab.store.path.resolve(), data_root and data_root.resolve())
    _run_cells(runner)(cells, elsewhere, jobs=jobs, on_event=lab.bus.emit, on_entry=lab.record)


def _run_cells(runner: str) -> Callable[..., None]:
    if runner == "ray":
        from splitfed.ray_cells import run_cells  # an optional extra

        return run_cells
    return parallel.run_cells


def _measure_elsewhere(run_dir: Path, data_root: Path | None, cell: Cell, say: Subscriber) -> dict[str, Any]:
    """What a process or a machine of its own does for one cell of this run."""
    store = RunStore.open(run_dir)
    scenario = Scenario.model_validate(store.manifest["scenario"])
    dataset, splits = load_images(scenario, data_root, Bus())
    with one_thread():
        return Lab(scenario, store, Bus(say), dataset, splits).measure(cell)


class Lab:
    """One run: its images, its store, and its cells."""

    def __init__(self, scenario: Scenario, store: RunStore, bus: Bus, dataset: Dataset, splits: Splits) -> None:
        self.scenario = scenario
        self.store = store
        self.bus = bus
        self.dataset = dataset
        self.splits = splits
        self.frechet_metrics = load_frechet_metrics(scenario.metrics)
        self.majority_rate = float(torch.bincount(splits.test.labels).max()) / len(splits.test)
        """The accuracy of always naming the most frequent class of the held-out images."""
        self.trivial = trivial_scores(self.splits.aux, self.splits.train)

    def run(self, spread: Callable[[Sequence[Cell]], None]) -> dict[str, Any]:
        """Have `spread` run all cells that are not finished yet, and record them."""
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
        if not any(cell.defense.name == "none" for cell in cells):
            self.notice("no undefended cell in this run: nothing shows that this attacker works at all")
        for metric in self.frechet_metrics:
            if len(self.splits.train) < metric.needed:
                self.notice(f"{metric.requirement}, this run has {len(self.splits.train):,}: it is left out")
        if not self.store.has_results:
            self.store.save_results(self._results([]))
        spread([cell for cell in cells if cell.name not in finished])
        results: dict[str, Any] = {**self.store.results}
        first_seed = [entry for entry in results["cells"] if entry["seed"] == self.scenario.seed]
        save_cells_compared(self.store, CellRun(self, cells[0]).truth, first_seed)
        self.bus.emit(events.RunFinished(results=results, valid=results["valid"]))
        return results

    def measure(self, cell: Cell) -> dict[str, Any]:
        """Train, tap, attack and judge one cell: its entry in the results."""
        self.bus.emit(
            events.CellStarted(
                cell=cell.name,
                defense=cell.defense.name,
                seed=cell.seed,
                rounds=self.scenario.federation.rounds,
                clients=self.scenario.federation.clients,
            )
        )
        return CellRun(self, cell).run()

    def record(self, cell: Cell, entry: dict[str, Any]) -> None:
        """Add a finished cell to the results."""
        entries = [e for e in self._entries() if e["cell"] != cell.name] + [entry]
        self._apply_reference(entries, cell.seed)
        self.store.save_results(self._results(entries))
        self.bus.emit(events.CellFinished(cell=cell.name, result=entry))

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
            },
            "trivial": self.trivial,
            "cells": cells,
            "summary": summarise(cells),
            "valid": all_valid(entries),
        }

    def notice(self, message: str, level: str = "warning") -> None:
        """Tell the user."""
        self.bus.emit(events.Notice(message=message, level=level))


def _create(scenario: Scenario, out: Path) -> RunStore:
    return RunStore.create(out, scenario.name, {"scenario": scenario.model_dump(mode="json"), **machine_manifest()})


def _reopen(scenario: Scenario, resume: Path) -> RunStore:
    store = RunStore.open(resume)
    if store.manifest["scenario"] != scenario.model_dump(mode="json"):
        raise UserError(f"{resume} was started with other settings; resume it without --set, or start a new run")
    return store


def load_images(scenario: Scenario, data_root: Path | None, bus: Bus) -> tuple[Dataset, Splits]:
    """The scenario's images, split; the same ones each time.

    Raises:
        DataError: they cannot be found, or are fewer than the scenario wants.
    """
    options = scenario.data
    dataset = data.load(
        options.name,
        size=options.size,
        data_root=data_root,
        fallback=options.fallback,
        path=Path(options.path) if options.path else None,
        attribute=options.attribute,
        on_notice=lambda message: bus.emit(events.Notice(message=message, level="banner")),
        on_progress=_Throttled(bus),
    )
    splits = data.split(dataset, train=options.train, aux=options.aux, test=options.test, seed=scenario.seed)
    return dataset, splits


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
