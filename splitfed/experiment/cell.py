"""One cell of a run: a federation with a tap on its wire, then the attack, then the verdict."""

from __future__ import annotations

import shutil
import threading
import time

from flwr.app import Context, RecordDict

from splitfed.config.scenario import Cell
from splitfed.errors import TrainingFailed
from splitfed.experiment.attack_listener import AttackListener
from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.evidence import AuditEvidence
from splitfed.experiment.mounted_attack import MountedAttack
from splitfed.experiment.pictures import save_outcome
from splitfed.experiment.verdict import after_attack, cell_gates, cell_result, failed_cell, victim_fingerprint
from splitfed.experiment.watcher import CellWatcher
from splitfed.federation.client_app import build_client_app
from splitfed.federation.outcome import FederationResult
from splitfed.federation.server_app import Federation, build_server_app
from splitfed.records import events
from splitfed.records.results import CellResult
from splitfed.runners.local_grid import LocalGrid


def measure(run: RunContext, cell: Cell) -> CellResult:
    """Train, tap, attack and judge one cell; it has a result also where it cannot be trained."""
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
    try:
        return _measure(CellContext.of(run, cell))
    except TrainingFailed as failure:
        return failed_cell(cell=cell, majority_rate=run.majority_rate, reason=str(failure))


def _measure(context: CellContext) -> CellResult:
    shutil.rmtree(context.folder)  # what an interrupted attempt left would pass for this one's
    live = AttackListener(context.cell.name, context.truth, context.run.store, context.run.bus)
    with MountedAttack(context, live.hear) as attack:
        result = _train(context, attack)
        before = victim_fingerprint(result)
        started = time.monotonic()
        attack.finish(sum(result.audited.values()))
        attack_s = time.monotonic() - started
    return _judge(context, result, live, before, attack_s)


def _train(context: CellContext, attack: MountedAttack) -> FederationResult:
    watcher = CellWatcher(context, attack)
    federation = Federation(context.job, watcher, checkpoint=context.checkpoint)
    stopped = threading.Event()
    app = build_client_app(lambda _, number: context.clients[number], on_step=watcher.stepped, stopped=stopped.is_set)
    results: list[FederationResult] = []
    with LocalGrid(app, len(context.clients)) as grid:
        try:
            build_server_app(federation, results)(grid, _flower_context())
        finally:
            stopped.set()  # so that clients that are still at work leave, and the grid can close
    return results[0]


def _judge(
    context: CellContext, result: FederationResult, live: AttackListener, before: str, attack_s: float
) -> CellResult:
    """The cell's result: what the attacks reached, and the gates that say whether to believe it."""
    run, cell = context.run, context.cell
    outcomes = live.outcomes()
    audit = AuditEvidence(context, result)
    evidence = audit.of_defense()
    defense = context.job.defense()
    found = cell_result(
        cell=cell,
        result=result,
        majority_rate=run.majority_rate,
        activation_bytes_per_image=audit.activation_bytes_per_image(),
        outcomes=outcomes,
        auxiliary=run.splits.aux,
        frechet_metrics=run.frechet_metrics,
        gate_results=cell_gates(
            outcomes=outcomes,
            refused=live.refused,
            before=before,
            after=after_attack(result, live.done),
            coverage=audit.coverage(),
            front=audit.held_front(live.done.front_before if live.done is not None else ""),
            defense=defense,
            evidence=evidence,
            auxiliary=run.splits.aux,
            victims=run.splits.train,
            result=result,
            options=run.scenario.federation,
        ),
        figures=defense.figures(evidence) if evidence is not None else {},
        attack_s=attack_s,
    )
    save_outcome(run.store, cell.name, found.strongest, outcomes)
    return found


def _flower_context() -> Context:
    return Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
