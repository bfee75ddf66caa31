"""One cell of a run whose lab holds no images: ordered, and put together from what the clients say."""

from __future__ import annotations

import secrets
import shutil

from splitfed.attacker import protocol
from splitfed.config.scenario import Cell
from splitfed.errors import TrainingFailed
from splitfed.experiment.attack_listener import AttackListener, check_finite
from splitfed.experiment.blind_run import BlindRun, tell_of_drawn
from splitfed.experiment.cell import say_begun
from splitfed.experiment.context import CellContext
from splitfed.experiment.stage import Played, Stage
from splitfed.experiment.told_by_clients import ToldByClients
from splitfed.experiment.verdict import after_attack, failed_cell, fits, said_of_training, scored_cell, strongest_of
from splitfed.federation.job import Job
from splitfed.federation.roster import NO_SHAPE
from splitfed.metrics import gates
from splitfed.records import events
from splitfed.records.reconstructions import check_name
from splitfed.records.results import AttackScore, CellResult
from splitfed.roles.lab_protocol import Verdict


def measure(run: BlindRun, cell: Cell, stage: Stage) -> CellResult:
    """Have one cell trained, tapped, attacked and judged; it has a result also where it cannot be trained.

    Args:
        run: what it shares with the others.
        cell: the defense and the seed.
        stage: where it takes place.
    """
    say_begun(run, cell)
    try:
        return _measure(run, cell, stage)
    except TrainingFailed as failure:
        return failed_cell(cell=cell, majority_rate=run.facts.majority_rate, reason=str(failure))


class DistantListener(AttackListener):
    """Hears the attacker of a cell, whose reconstructions the clients score, and what these say."""

    def __init__(self, context: CellContext) -> None:
        super().__init__(context.cell.name, context.truth, context.run.store, context.run.bus)
        self.told = ToldByClients()

    @property
    def reports(self) -> list[protocol.Attacked]:
        """What each finished attack says of itself."""
        return list(self._attacked)

    def hear(self, message: protocol.Message | Verdict) -> None:
        """What the attacker says, and what the clients say."""
        if isinstance(message, Verdict):
            self.told.hear(message)
        else:
            super().hear(message)

    def _finished(self, message: protocol.Attacked) -> None:
        check_name(message.attack)
        if message.fit is not None:
            check_finite(message.fit)
        self._attacked.append(message)


def _measure(run: BlindRun, cell: Cell, stage: Stage) -> CellResult:
    folder = run.store.cell_dir(cell.name)
    job = Job(f"{run.store.path.name}/{cell.name}", run.scenario, cell, NO_SHAPE, 0, secrets.token_hex(16))
    context = CellContext(run, cell, job, (), folder)
    shutil.rmtree(folder)  # what an interrupted attempt left would pass for this one's
    live = DistantListener(context)
    played = stage(context, live.hear)
    run.facts.learn(live.told, played.result)
    tell_of_drawn(run)
    return _judge(run, context, played, live)


def _judge(run: BlindRun, context: CellContext, played: Played, live: DistantListener) -> CellResult:
    """The cell's result: what the clients scored, and the gates that say whether to believe it."""
    cell, result, told = context.cell, played.result, live.told
    sent = sum(result.audited.values())
    scores = {
        report.attack: score.model_copy(update=said_of_training(report))
        for report in live.reports
        if (score := told.score(report.attack, seed=cell.seed, sent=sent)) is not None
    }
    best = strongest_of(live.reports)
    _show_final(run, context, live, scores)
    federation, done = run.scenario.federation, live.done
    first = told.judged[min(told.judged)] if told.judged else None
    return scored_cell(
        cell=cell,
        result=result,
        majority_rate=run.facts.majority_rate,
        activation_bytes_per_image=told.tapped.activation_bytes_per_image,
        scores=scores,
        controls={report.attack for report in live.reports if report.is_control},
        strongest=best if best in scores else None,
        gate_results=[
            gates.completed(),
            gates.clients_took_part(
                result.missed_rounds,
                rounds=federation.rounds,
                allowed=federation.missed_rounds_allowed,
                reason=result.missed_because,
            ),
            gates.attack_learned(fits(live.reports), live.refused),
            gates.victim_unchanged(played.before, after_attack(result, done)),
            *told.gates(
                live.reports,
                result,
                held=done.front_before if done is not None else "",
                coverage=run.scenario.attacker.coverage,
            ),
        ],
        figures=first.figures if first is not None else {},
        attack_s=played.attack_s,
    )


def _show_final(run: BlindRun, context: CellContext, live: DistantListener, scores: dict[str, AttackScore]) -> None:
    """Say what each attack has reached."""
    for report in live.reports:
        score = scores.get(report.attack)
        if report.fit is not None and score is not None:
            run.bus.emit(
                events.AttackProgress(
                    cell=context.cell.name,
                    attack=report.attack,
                    round=context.audit_round,
                    epoch=report.fit.epochs,
                    train_loss=report.fit.last_loss,
                    psnr_db=score.psnr_db,
                    ssim=score.ssim,
                    final=True,
                )
            )
