"""What became of each cell of a run, kept in `results.json` and told to all who look on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splitfed.config.scenario import Cell
from splitfed.config.tables import FederationOptions
from splitfed.errors import UserError
from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.pairing import Pairing
from splitfed.experiment.pictures import save_cells_compared
from splitfed.experiment.reference import REFERENCE_GATE, reference_gate
from splitfed.experiment.tidy import identity, tidy
from splitfed.experiment.verdict import judged
from splitfed.experiment.wall import save_victims
from splitfed.federation.participants import participants_per_round
from splitfed.records import events
from splitfed.records.paired import PairedDifference
from splitfed.records.results import (
    SCHEMA,
    BaselineScore,
    CellResult,
    DatasetInfo,
    Results,
    TrainingInfo,
    all_valid,
)
from splitfed.records.summary import mean_baselines, summarize
from splitfed.records.wall import WallFolder
from splitfed.runners.unfinished import CellFailure, Outcome, check_all_finished

UNDEFENDED = "none"
"""The defense whose cell shows whether the attacker works at all."""
SEALED = (
    "federation.tls: the attacker stands at a wire under TLS. It will see ciphertext, no leakage will be measured, and "
    'the cells will be INVALID; attacker.vantage = "server" has what the server sees'
)


def training_info(options: FederationOptions) -> TrainingInfo:
    """How the cells of a scenario with these options are trained."""
    return TrainingInfo(
        clients=options.clients,
        client_fraction=options.client_fraction,
        variant=options.variant,
        labels=options.labels,
        codec=options.codec,
        repeats=options.variant == "sflv1" or participants_per_round(options) == 1,
    )


class ResultsKeeper:
    """Whoever runs the cells begins it, closes each cell in it, and finishes it."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._pairing = Pairing(run)
        self.unfinished: dict[str, CellFailure] = {}
        """Cells that ended without a result, by name."""

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
        for cell in store.results.cells:
            self._tidy(cell)
        self._hang_originals()
        return [cell for cell in cells if cell.name not in finished]

    def close(self, cell: Cell, outcome: Outcome) -> None:
        """Record what became of a cell: its result, or why there is none."""
        if isinstance(outcome, CellFailure):
            self.unfinished[cell.name] = outcome
            self._run.bus.emit(events.CellUnfinished(cell=cell.name, reason=outcome.reason))
        else:
            self._record(outcome)

    def finish(self) -> Results:
        """Draw the pictures of the whole run and say that it is over; its results.

        Raises:
            RuntimeError, UserError, UnfinishedError: a cell has no result; see `check_all_finished`.
        """
        run = self._run
        cells = run.scenario.cells()
        results = run.store.results
        first_seed = [cell for cell in results.cells if cell.seed == run.scenario.seed]
        try:
            self._draw(first_seed)
        finally:
            check_all_finished(self.unfinished, len(cells), run.store.path)
        run.bus.emit(events.RunFinished(results=results, valid=results.valid))
        return results

    def _draw(self, cells: Sequence[CellResult]) -> None:
        """The pictures that compare these cells."""
        run = self._run
        by_name = {cell.name: cell for cell in run.scenario.cells()}
        save_cells_compared(run.store, lambda name: CellContext.of(run, by_name[name]).truth, cells, run.notice)

    def _hang_originals(self) -> None:
        """Put the private images on the wall, once."""
        if WallFolder(self._run.store.path).victims() is None:
            save_victims(self._run)

    def _describe(self) -> str:
        """What the run is of, in a paragraph."""
        return self._run.dataset.described()

    def _baselines(self) -> Mapping[int, Mapping[str, BaselineScore]]:
        """What predictors without any activation score on the images of each seed."""
        return self._run.baselines_by_seed

    def _say_what_to_expect(self, cells: Sequence[Cell]) -> None:
        run = self._run
        run.notice(self._describe(), level="info")
        if not any(cell.defense.name == UNDEFENDED for cell in cells):
            run.notice("no undefended cell in this run: nothing shows that this attacker works at all")
        if not training_info(run.scenario.federation).repeats:
            run.notice(
                'federation.variant = "sflv2": whose step comes first is up to the network, so that another run gives '
                "other numbers",
                level="info",
            )
        if run.scenario.sealed:
            run.notice(SEALED, level="info")
        for metric in run.frechet_metrics:
            if len(run.splits.train) < metric.needed:
                run.notice(f"{metric.requirement}, this run has {len(run.splits.train):,}: it is left out")

    def _record(self, result: CellResult) -> None:
        """Add a finished cell to the results."""
        earlier = [cell for cell in self._run.store.results.cells if cell.cell != result.cell]
        cells = self._with_pairs(self._with_reference([*earlier, result], result.seed), result.seed)
        self._run.store.save_results(self._results(cells))
        self._tidy(result)
        self._run.bus.emit(events.CellFinished(cell=result.cell, result=cells[-1]))

    def _tidy(self, result: CellResult) -> None:
        """Delete what nobody reads of a cell that is finished."""
        run = self._run
        keep_training = run.scenario.attacker.keep_rounds == 0
        folder = run.store.cell_dir(result.cell)
        try:
            tidy(
                folder,
                identity(run.splits_of(result.seed).aux),
                strongest=result.strongest,
                keep_training=keep_training,
            )
        except UserError as error:  # the cell is finished all the same, and the next resume tidies again
            run.notice(f"{result.cell}: {error}")

    def _with_reference(self, cells: list[CellResult], seed: int) -> list[CellResult]:
        """These cells, in which the undefended one of a seed vouches for the attacker in all cells of that seed."""
        reference = next((cell for cell in cells if cell.seed == seed and cell.defense == UNDEFENDED), None)
        if reference is None or reference.sealed:  # a wire that nobody can read says nothing of the attacker
            return cells
        gate = reference_gate(reference, self._baselines()[seed], self._run.scenario.attacker.margin_db)
        return [
            judged(cell, [gate]) if cell.seed == seed and REFERENCE_GATE not in cell.gates else cell for cell in cells
        ]

    def _with_pairs(self, cells: list[CellResult], seed: int) -> list[CellResult]:
        """These cells, each defense of this seed compared with the undefended cell image by image."""
        reference = next((cell for cell in cells if cell.seed == seed and cell.defense == UNDEFENDED), None)
        if reference is None:
            return cells
        return [
            cell.model_copy(update={"against_none": self._difference(cell, reference)})
            if cell.seed == seed and cell.defense != UNDEFENDED and not cell.against_none
            else cell
            for cell in cells
        ]

    def _difference(self, cell: CellResult, reference: CellResult) -> dict[str, PairedDifference]:
        """What a defense changes on each private image."""
        return self._pairing.difference(cell, reference)

    def _results(self, cells: Sequence[CellResult]) -> Results:
        run = self._run
        order = [cell.name for cell in run.scenario.cells()]
        ordered = sorted(cells, key=lambda cell: order.index(cell.cell))
        return Results(
            schema=SCHEMA,
            scenario=run.scenario.name,
            threat=run.scenario.threat,
            vantage=run.scenario.attacker.vantage,
            dataset=self._dataset_info(),
            metrics=run.scenario.metrics,
            truth=run.scenario.truth,
            baselines=mean_baselines(list(self._baselines().values())),
            baselines_by_seed={str(seed): dict(own) for seed, own in self._baselines().items()},
            cells=tuple(ordered),
            summary=summarize(ordered),
            valid=all_valid(cells),
            training=training_info(run.scenario.federation),
        )

    def _dataset_info(self) -> DatasetInfo:
        dataset, splits = self._run.dataset, self._run.splits
        shape = splits.train.shape
        return DatasetInfo(
            name=dataset.name,
            synthetic=dataset.synthetic,
            shape=(shape.channels, shape.height, shape.width),
            classes=len(splits.train.classes),
            train=len(splits.train),
            aux=len(splits.aux),
            test=len(splits.test),
            note=dataset.note,
            caveat=dataset.caveat,
            identity=dataset.identity,
            images=dataset.counts,
            skipped=dict(dataset.found.skipped),
            remarks=tuple(dataset.found.remarks),
        )
