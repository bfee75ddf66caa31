"""One cell of a run: a federation with a tap on its wire, then the attack, then the verdict."""

from __future__ import annotations

import shutil

from splitfed.config.scenario import Cell
from splitfed.errors import TrainingFailed
from splitfed.experiment.attack_listener import AttackListener
from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.evidence import AuditEvidence
from splitfed.experiment.pictures import save_outcome
from splitfed.experiment.stage import OnThisMachine, Played, Stage
from splitfed.experiment.verdict import after_attack, cell_gates, cell_result, failed_cell
from splitfed.experiment.wall import CellWall
from splitfed.records import events
from splitfed.records.results import CellResult

HERE = OnThisMachine()


def measure(run: RunContext, cell: Cell, stage: Stage = HERE) -> CellResult:
    """Train, tap, attack and judge one cell; it has a result also where it cannot be trained.

    Args:
        run: what it shares with the others.
        cell: the defense and the seed.
        stage: where it takes place.
    """
    say_begun(run, cell)
    try:
        return _measure(CellContext.of(run, cell), stage)
    except TrainingFailed as failure:
        return failed_cell(cell=cell, majority_rate=run.majority_rate, reason=str(failure))


def say_begun(run: RunContext, cell: Cell) -> None:
    """Say that a cell begins."""
    federation = run.scenario.federation
    run.bus.emit(
        events.CellStarted(
            cell=cell.name,
            defense=cell.defense.name,
            seed=cell.seed,
            rounds=federation.rounds,
            clients=federation.clients,
        )
    )


def _measure(context: CellContext, stage: Stage) -> CellResult:
    shutil.rmtree(context.folder)  # what an interrupted attempt left would pass for this one's
    wall = CellWall(context)
    live = AttackListener(context.cell.name, context.truth, context.run.store, context.run.bus, wall)
    played = stage(context, live.hear)
    audit = AuditEvidence(context, played.result)
    wall.activations(audit.observed)
    return _judge(context, played, live, audit)


def _judge(context: CellContext, played: Played, live: AttackListener, audit: AuditEvidence) -> CellResult:
    """The cell's result: what the attacks reached, and the gates that say whether to believe it."""
    run, cell, result = context.run, context.cell, played.result
    auxiliary = played.auxiliary or context.splits.aux
    outcomes = live.outcomes()
    evidence, sealed = audit.of_defense(), audit.sealed(live.done)
    defense = context.job.defense()
    audited = [outcome.reconstruction for outcome in outcomes if outcome.audited is None]
    identified = audit.identification(defense, evidence, audited)
    found = cell_result(
        cell=cell,
        result=result,
        majority_rate=run.majority_rate,
        activation_bytes_per_image=audit.activation_bytes_per_image(),
        outcomes=outcomes,
        auxiliary=auxiliary,
        frechet_metrics=run.frechet_metrics,
        gate_results=cell_gates(
            outcomes=outcomes,
            refused=live.refused,
            before=played.before,
            after=after_attack(result, live.done),
            coverage=audit.coverage(live.done),
            front=audit.held_front(live.done.front_before if live.done is not None else ""),
            defense=defense,
            evidence=evidence,
            auxiliary=auxiliary,
            victims=context.splits.train,
            result=result,
            options=run.scenario.federation,
            sealed=sealed,
            identified=identified,
        ),
        figures=defense.figures(evidence) if evidence is not None else {},
        attack_s=played.attack_s,
        sealed=sealed,
        identified=identified,
        linked=audit.linked(identified, auxiliary),
    )
    save_outcome(run.store, cell.name, found.strongest, outcomes)
    return found
