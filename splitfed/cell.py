"""One cell of a run: a federation with a tap on its wire, then the attack, then the verdict."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import Context, RecordDict
from torch import Tensor

from splitfed import data, events
from splitfed.attacker.config import AttackerConfig, ComponentConfig
from splitfed.attacker.handle import AttackerHandle
from splitfed.attacker.knowledge import Final, save_auxiliary
from splitfed.data import Splits
from splitfed.defenses.base import TapEvidence
from splitfed.errors import AttackError
from splitfed.federation.backs import Score
from splitfed.federation.client import Client, ClientImages, StepReport
from splitfed.federation.client_app import build_client_app, connect_over_grpc
from splitfed.federation.job import Job
from splitfed.federation.local_grid import LocalGrid
from splitfed.federation.order import SMALLEST_BATCH
from splitfed.federation.server_app import Federation, FederationResult, build_server_app
from splitfed.federation.task import Task
from splitfed.live import LiveAttack
from splitfed.metrics import gates
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.gates import GateResult
from splitfed.models.front import Front
from splitfed.pictures import save_outcome
from splitfed.scenario import Cell, Scenario
from splitfed.truth import Truth
from splitfed.types import Observation, Phase
from splitfed.verdict import (
    after_attack,
    cell_entry,
    cell_gates,
    made_otherwise,
    rows_seen,
    tap_evidence,
    victim_fingerprint,
)
from splitfed.wire.codec import CODECS
from splitfed.wire.observations import read_observations

if TYPE_CHECKING:
    from splitfed.lab import Lab

CONTROL = "untrained"
"""Always mounted: what an attack that was never trained would report."""
CHECKED_BATCHES = 16
"""How many tapped batches the gate `defense_acts` looks at."""
REPEATED_BATCHES = 2
"""How many tapped batches of each client the gate `held_front` has made once more."""


class CellRun:
    """One cell: a federation with a tap on its wire, then the attack, then the verdict.

    It is the federation's `Watcher`: what training says of itself becomes events, and the attacker gets what a
    participant gets.
    """

    def __init__(self, lab: Lab, cell: Cell) -> None:
        splits = lab.splits
        self.lab = lab
        self.cell = cell
        self.folder = lab.store.cell_dir(cell.name)
        self.job = Job(
            run=f"{lab.store.path.name}/{cell.name}",
            scenario=lab.scenario,
            cell=cell,
            shape=splits.train.shape,
            classes=len(splits.train.classes),
            secret=secrets.token_hex(16),
        )
        self.clients = _shares(lab.scenario, splits, cell.seed)
        self.truth = Truth(self.job, self.clients)
        self.live = LiveAttack(cell.name, self.truth, lab.store, lab.bus)
        self._attacker: AttackerHandle | None = None
        self._stopped = threading.Event()

    def run(self) -> dict[str, Any]:
        """Train under the tap, attack, judge."""
        shutil.rmtree(self.folder)  # what an interrupted attempt left would pass for this one's
        try:
            result = self._train()
            before = victim_fingerprint(result)
            started = time.monotonic()
            self._attack(sum(result.audited.values()))
            attack_s = time.monotonic() - started
        finally:
            if self._attacker is not None:
                self._attacker.stop()
        outcomes = self.live.outcomes()
        evidence = self._evidence(result)
        defense = self.job.defense()
        entry = cell_entry(
            cell=self.cell,
            result=result,
            majority_rate=self.lab.majority_rate,
            activation_bytes_per_image=self._activation_bytes_per_image(),
            outcomes=outcomes,
            auxiliary=self.lab.splits.aux,
            frechet_metrics=self.lab.frechet_metrics,
            gate_results=cell_gates(
                outcomes=outcomes,
                refused=self.live.refused,
                before=before,
                after=after_attack(result, self.live.done),
                coverage=self._coverage(result),
                front=self._held_front(result),
                defense=defense,
                evidence=evidence,
                auxiliary=self.lab.splits.aux,
                victims=self.lab.splits.train,
                result=result,
                options=self.lab.scenario.federation,
            ),
            figures=defense.figures(evidence) if evidence is not None else {},
            attack_s=attack_s,
        )
        save_outcome(self.lab.store, self.cell.name, entry["strongest"], outcomes)
        return entry

    # what happens

    def _train(self) -> FederationResult:
        federation = Federation(self.job, self, checkpoint=self._checkpoint)
        app = build_client_app(
            lambda _, number: self.clients[number], on_step=self._stepped, stopped=self._stopped.is_set
        )
        results: list[FederationResult] = []
        with LocalGrid(app, self.lab.scenario.federation.clients) as grid:
            try:
                build_server_app(federation, results)(grid, _context())
            finally:
                self._stopped.set()  # so that clients that are still at work leave, and the grid can close
        return results[0]

    def _attack(self, images: int) -> None:
        """Have the attacker finish with so many images. Whatever happens to it is its own loss: the cell is then
        INVALID."""
        if self._attacker is None:
            return
        audit = self.lab.scenario.federation.rounds + 1
        try:
            self._attacker.finish(Final(round=audit, rows=images), self.lab.scenario.attacker.deadline_s)
        except AttackError as error:
            self.lab.notice(f"{self.cell.name}: {error}")

    def _evidence(self, result: FederationResult) -> TapEvidence | None:
        """What the tap saw of the first client whose audit it saw, beside what the client's front gives."""
        observed = self._audited()[:CHECKED_BATCHES]
        if not observed:
            return None
        number = observed[0].client
        victim = self._victim(number, result)
        own = [observation for observation in observed if observation.client == number]
        plan = self.job.plan([len(client.train) for client in self.clients])
        return tap_evidence(victim, self.clients[number].train, own, result, plan)

    def _victim(self, number: int, result: FederationResult) -> Task:
        """A client of this number that holds the final front and has done nothing yet."""
        victim = Task(Client(self.job, number, self.clients[number], connect_over_grpc(self.job)))
        victim.front.load_state_dict(result.front.state_dict())
        victim.front.eval()
        return victim

    def _coverage(self, result: FederationResult) -> GateResult:
        """Gate: whether the tap has what the clients sent in the audit."""
        seen, sent = rows_seen(self._audited(), result.audited), sum(result.audited.values())
        return gates.tap_coverage(seen, sent, wanted=self.lab.scenario.attacker.coverage)

    def _held_front(self, result: FederationResult) -> GateResult:
        """Gate: whether the front that the attacker held made what the tap has; some batches are made once more."""
        by_client: dict[int, list[Observation]] = {number: [] for number in range(len(self.clients))}
        for observation in self._audited():
            by_client[observation.client].append(observation)
        chosen = {number: own[:: max(len(own) - 1, 1)][:REPEATED_BATCHES] for number, own in by_client.items() if own}
        differing = [
            batch for number, own in chosen.items() for batch in made_otherwise(self._victim(number, result), own)
        ]
        return gates.held_front(
            held=self.live.done.front_before if self.live.done is not None else "",
            final=fingerprint(result.front.state_dict()),
            checked=sum(map(len, chosen.values())),
            differing=differing,
        )

    def _activation_bytes_per_image(self) -> float:
        """Measured on what was tapped: the codec's payload for the audit's batches."""
        observed = self._audited()[:CHECKED_BATCHES]
        codec = CODECS[self._codec]
        images = sum(len(observation.activation) for observation in observed)
        payload_bytes = sum(codec.encode(observation.activation).nbytes for observation in observed)
        return payload_bytes / max(images, 1)

    def _audited(self) -> list[Observation]:
        audit = self.lab.scenario.federation.rounds + 1
        seen = read_observations(self._observations, round=audit, phase=Phase.AUDIT)
        return sorted((o for o in seen if o.client < len(self.clients)), key=lambda o: (o.client, o.step))

    # what the federation tells (federation.server_app.Watcher)

    def route(self, server_address: str) -> list[str]:
        """Through the attacker's relay; straight to the server where the relay does not answer."""
        attacker = AttackerHandle(self._attacker_config(server_address), self.live.hear)
        save_auxiliary(self._knowledge, self.lab.splits.aux)
        try:
            relay_address = attacker.start()
        except AttackError as error:
            self.lab.notice(f"{self.cell.name}: {error}. Training goes on without it")
            return [server_address]
        self._attacker = attacker
        return [relay_address, server_address]

    def prepared(self, done: int, total: int) -> None:
        """A round of unsupervised preparation is over."""
        self.lab.bus.emit(events.PrepareProgress(cell=self.cell.name, what="first dictionary", done=done, total=total))

    def front_sent(self, round_number: int, front: Front) -> None:
        """What every participant gets, the attacker gets."""
        if self._attacker is not None:
            self._attacker.publish_front(round_number, front)

    def client_lost(self, round_number: int, client: int, reason: str) -> None:
        """A client took no part in this round, or not in all of it."""
        self.lab.bus.emit(events.ClientLost(cell=self.cell.name, round=round_number, client=client, reason=reason))

    def round_finished(self, round_number: int, train: Score, test: Score) -> None:
        """Fronts and backs were averaged, and the model tested."""
        self.lab.bus.emit(
            events.RoundFinished(
                cell=self.cell.name,
                round=round_number,
                rounds=self.lab.scenario.federation.rounds,
                loss=train.loss,
                accuracy=test.accuracy,
            )
        )

    def _stepped(self, report: StepReport) -> None:
        self.lab.bus.emit(events.ClientProgress(cell=self.cell.name, **vars(report)))

    # where things lie

    @property
    def _codec(self) -> str:
        return self.lab.scenario.federation.codec

    @property
    def _knowledge(self) -> Path:
        return self.folder / "knowledge"

    @property
    def _observations(self) -> Path:
        return self.folder / "observations"

    @property
    def _checkpoint(self) -> Path:
        return self.lab.store.checkpoints_dir / f"{self.folder.name}.pt"

    def _attacker_config(self, upstream: str) -> AttackerConfig:
        scenario = self.lab.scenario
        attacks = [ComponentConfig(name=a.name, options=a.options) for a in scenario.attack]
        if all(attack.name != CONTROL for attack in attacks):
            attacks.append(ComponentConfig(name=CONTROL))
        return AttackerConfig(
            upstream=upstream,
            knowledge=self._knowledge.resolve(),
            observations=self._observations.resolve(),
            out=(self.folder / "attack").resolve(),
            shape=self.job.shape,
            width=scenario.model.width,
            hidden_layers=scenario.client_layers,
            seed=self.cell.seed,
            defense=ComponentConfig(name=self.cell.defense.name, options=self.cell.defense.options),
            attacks=tuple(attacks),
            live_aux=scenario.attacker.live_aux,
            live_images=scenario.attacker.live_images,
            keep_rounds=scenario.attacker.keep_rounds,
            threads=scenario.attacker.threads,
        )


def own_positions(scenario: Scenario, labels: Tensor, seed: int) -> list[Tensor]:
    """Which of the training images with these labels each client holds, enough to train on.

    Raises:
        DataError: they cannot be shared so.
    """
    return data.partition(
        labels,
        clients=scenario.federation.clients,
        seed=seed,
        scheme=scenario.data.partition,
        alpha=scenario.data.alpha,
        at_least=SMALLEST_BATCH,
    )


def _shares(scenario: Scenario, splits: Splits, seed: int) -> list[ClientImages]:
    """Each client's own training images and its share of the held-out ones."""
    own = own_positions(scenario, splits.train.labels, seed)
    held_out = data.partition(splits.test.labels, clients=scenario.federation.clients, seed=seed, scheme="iid")
    return [ClientImages(splits.train[a], splits.test[b]) for a, b in zip(own, held_out, strict=True)]


def _context() -> Context:
    return Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
