"""What became of each cell of a run, kept in `results.json` and told to all who look on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splitfed.config.scenario import Cell
from splitfed.errors import UserError
from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.pictures import save_cells_compared
from splitfed.experiment.tidy import identity, tidy
from splitfed.experiment.verdict import REFERENCE_GATE, judge, reference_gate
from splitfed.records import events
from splitfed.records.results import all_valid
from splitfed.records.summary import summarize
from splitfed.runners.unfinished import CellFailure, Outcome, check_all_finished

UNDEFENDED = "none"
"""The defense whose cell shows whether the attacker works at all."""


class RunRecord:
    """Whoever runs the cells begins it, closes each cell in it, and finishes it."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self.unfinished: dict[str, CellFailure] = {}
        """Cells that ended without an entry, by name."""

    def begin(self) -> list[Cell]:
        """Say that the run begins; the cells that are not finished yet."""
        scenario, store = self._run.scenario, self._run.store
        cells, finished = scenario.cells(), set(store.finished_cells())
        self._run.bus.emit(
            events.RunStarted(
                scenario=scenario.name,
                run_dir=str(store.path),
                threat=scenario.threat,
                dataset=self._run.dataset.name,
                synthetic=self._run.dataset.synthetic,
                cells=tuple(cell.name for cell in cells),
                finished=tuple(cell.name for cell in cells if cell.name in finished),
            )
        )
        self._say_what_to_expect(cells)
        if not store.has_results:
            store.save_results(self._results([]))
        for entry in self._entries():
            self._tidy(entry)
        return [cell for cell in cells if cell.name not in finished]

    def close(self, cell: Cell, outcome: Outcome) -> None:
        """Record what became of a cell: its entry, or why there is none."""
        if isinstance(outcome, CellFailure):
            self.unfinished[cell.name] = outcome
            self._run.bus.emit(events.CellUnfinished(cell=cell.name, reason=outcome.reason))
        else:
            self._record(cell, outcome)

    def finish(self) -> dict[str, Any]:
        """Draw the pictures of the whole run and say that it is over; its results.

        Raises:
            RuntimeError, UserError, UnfinishedError: a cell has no entry; see `check_all_finished`.
        """
        run = self._run
        cells = run.scenario.cells()
        results: dict[str, Any] = {**run.store.results}
        first_seed = [entry for entry in results["cells"] if entry["seed"] == run.scenario.seed]
        try:
            save_cells_compared(run.store, CellContext.of(run, cells[0]).truth, first_seed, run.notice)
        finally:
            check_all_finished(self.unfinished, len(cells), run.store.path)
        run.bus.emit(events.RunFinished(results=results, valid=results["valid"]))
        return results

    def _say_what_to_expect(self, cells: Sequence[Cell]) -> None:
        run = self._run
        run.notice(run.dataset.described(), level="info")
        if not any(cell.defense.name == UNDEFENDED for cell in cells):
            run.notice("no undefended cell in this run: nothing shows that this attacker works at all")
        for metric in run.frechet_metrics:
            if len(run.splits.train) < metric.needed:
                run.notice(f"{metric.requirement}, this run has {len(run.splits.train):,}: it is left out")

    def _record(self, cell: Cell, entry: dict[str, Any]) -> None:
        """Add a finished cell to the results."""
        entries = [e for e in self._entries() if e["cell"] != cell.name] + [entry]
        self._apply_reference(entries, cell.seed)
        self._run.store.save_results(self._results(entries))
        self._tidy(entry)
        self._run.bus.emit(events.CellFinished(cell=cell.name, result=entry))

    def _tidy(self, entry: Mapping[str, Any]) -> None:
        """Delete what nobody reads of a cell that is finished."""
        run = self._run
        keep_training = run.scenario.attacker.keep_rounds == 0
        folder, strongest = run.store.cell_dir(entry["cell"]), entry["strongest"]
        try:
            tidy(folder, identity(run.splits.aux), strongest=strongest, keep_training=keep_training)
        except UserError as error:  # the cell is finished all the same, and the next resume tidies again
            run.notice(f"{entry['cell']}: {error}")

    def _apply_reference(self, entries: list[dict[str, Any]], seed: int) -> None:
        """The undefended cell of a seed vouches for the attacker in all cells of that seed."""
        of_seed = [entry for entry in entries if entry["seed"] == seed]
        reference = next((entry for entry in of_seed if entry["defense"] == UNDEFENDED), None)
        if reference is None:
            return
        gate = reference_gate(reference, self._run.baselines, self._run.scenario.attacker.margin_db)
        for entry in of_seed:
            if REFERENCE_GATE not in entry["gates"]:
                judge(entry, [gate])

    def _entries(self) -> list[dict[str, Any]]:
        return [dict(entry) for entry in self._run.store.results["cells"]]

    def _results(self, entries: list[dict[str, Any]]) -> Any:
        run = self._run
        order = [cell.name for cell in run.scenario.cells()]
        cells: Any = sorted(entries, key=lambda entry: order.index(entry["cell"]))
        return {
            "schema": 1,
            "scenario": run.scenario.name,
            "threat": run.scenario.threat,
            "dataset": self._dataset_info(),
            "baselines": run.baselines,
            "cells": cells,
            "summary": summarize(cells),
            "valid": all_valid(entries),
        }

    def _dataset_info(self) -> dict[str, Any]:
        dataset, splits = self._run.dataset, self._run.splits
        return {
            "name": dataset.name,
            "synthetic": dataset.synthetic,
            "shape": tuple(splits.train.shape),
            "classes": len(splits.train.classes),
            "train": len(splits.train),
            "aux": len(splits.aux),
            "test": len(splits.test),
            "note": dataset.note,
            "caveat": dataset.caveat,
            "identity": dataset.identity,
            "images": dataset.counts,
            "skipped": dict(dataset.found.skipped),
            "remarks": list(dataset.found.remarks),
        }
