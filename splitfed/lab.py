"""The conductor: runs a scenario cell by cell.

Several clients hold private images and the front of a network, a Flower server the back. Clients stream activations
and get gradients; fronts are averaged each round. An attacker's process taps the wire and reconstructs the images.
Each cell ends with what the defense cost, what still leaked, and the gates that say whether to believe it.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context, RecordDict

from splitfed import data, events
from splitfed.attacker.config import AttackerConfig, ComponentConfig, Final, save_auxiliary
from splitfed.attacker.handle import AttackerHandle
from splitfed.data import Dataset, Splits
from splitfed.defenses.base import TapEvidence
from splitfed.errors import AttackError, UserError
from splitfed.events import Bus, Subscriber
from splitfed.federation.backs import Score
from splitfed.federation.client import Client, ClientImages, StepReport
from splitfed.federation.client_app import build_client_app, connect_over_grpc
from splitfed.federation.job import Job
from splitfed.federation.local_grid import LocalGrid
from splitfed.federation.server_app import Federation, FederationResult, build_server_app
from splitfed.live import LiveAttack
from splitfed.machine import machine_manifest
from splitfed.models.front import Front
from splitfed.pictures import save_cells_compared, save_outcome
from splitfed.scenario import Cell, Scenario
from splitfed.store import RunStore
from splitfed.truth import Truth
from splitfed.types import Observation, Phase
from splitfed.verdict import (
    REFERENCE_GATE,
    after_attack,
    cell_entry,
    cell_gates,
    judge,
    reference_gate,
    tap_evidence,
    trivial_scores,
    victim_fingerprint,
)
from splitfed.wire.codec import CODECS
from splitfed.wire.observations import read_observations

CONTROL = "untrained"
"""Always mounted: what an attack that was never trained would report."""
CHECKED_BATCHES = 16
"""How many tapped batches the gate `defense_acts` looks at."""


def run(
    scenario: Scenario,
    *,
    out: Path = Path("runs"),
    data_root: Path | None = None,
    resume: Path | None = None,
    subscribers: Sequence[Subscriber] = (),
) -> dict[str, Any]:
    """Run a scenario, or go on with one, and return its results (the content of `results.json`).

    Args:
        scenario: what to run; a resumed run must have been started with the same one.
        out: where the run directory is made.
        data_root: where to look for data sets first.
        resume: the directory of a run to go on with; its finished cells are kept.
        subscribers: called with every event.

    Raises:
        UserError: data that cannot be found, or a run that cannot be resumed.
    """
    resumed = None if resume is None else _reopen(scenario, resume)
    # before there is a directory that would be left behind
    dataset, splits = _load_images(scenario, data_root, Bus(*subscribers))
    with resumed or _create(scenario, out) as store, _one_thread():
        return Lab(scenario, store, Bus(store.append_event, *subscribers), dataset, splits).run()


class Lab:
    """One run: its images, its store, and its cells."""

    def __init__(self, scenario: Scenario, store: RunStore, bus: Bus, dataset: Dataset, splits: Splits) -> None:
        self.scenario = scenario
        self.store = store
        self.bus = bus
        self.dataset = dataset
        self.splits = splits
        self.majority_rate = float(torch.bincount(splits.test.labels).max()) / len(splits.test)
        """The accuracy of always naming the most frequent class of the held-out images."""
        self.trivial = trivial_scores(self.splits.aux, self.splits.train)

    def run(self) -> dict[str, Any]:
        """All cells that are not finished yet."""
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
        if not self.store.has_results:
            self.store.save_results(self._results([]))
        for cell in cells:
            if cell.name not in finished:
                self._run_cell(cell)
        results: dict[str, Any] = {**self.store.results}
        first_seed = [entry for entry in results["cells"] if entry["seed"] == self.scenario.seed]
        save_cells_compared(self.store, CellRun(self, cells[0]).truth, first_seed)
        self.bus.emit(events.RunFinished(results=results, valid=results["valid"]))
        return results

    def _run_cell(self, cell: Cell) -> None:
        self.bus.emit(
            events.CellStarted(
                cell=cell.name,
                defense=cell.defense.name,
                seed=cell.seed,
                rounds=self.scenario.federation.rounds,
                clients=self.scenario.federation.clients,
            )
        )
        entry = CellRun(self, cell).run()
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
            },
            "trivial": self.trivial,
            "cells": sorted(entries, key=lambda entry: order.index(entry["cell"])),
            "valid": bool(entries) and all(entry["valid"] for entry in entries),
        }

    def notice(self, message: str, level: str = "warning") -> None:
        """Tell the user."""
        self.bus.emit(events.Notice(message=message, level=level))


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
            token=secrets.token_hex(16),
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
            self._attack()
            attack_s = time.monotonic() - started
        finally:
            if self._attacker is not None:
                self._attacker.stop()
        outcomes = self.live.outcomes()
        entry = cell_entry(
            cell=self.cell,
            result=result,
            majority_rate=self.lab.majority_rate,
            activation_bytes_per_image=self._activation_bytes_per_image(),
            outcomes=outcomes,
            auxiliary=self.lab.splits.aux,
            gate_results=cell_gates(
                outcomes=outcomes,
                before=before,
                after=after_attack(result, self.live.done),
                defense=self.job.defense(),
                evidence=self._evidence(result),
                auxiliary=self.lab.splits.aux,
                victims=self.lab.splits.train,
            ),
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
            except BaseException:
                self._stopped.set()  # so that the clients' threads leave, and the grid can close
                raise
        return results[0]

    def _attack(self) -> None:
        """Have the attacker finish. Whatever happens to it is its own loss: the cell is then INVALID."""
        if self._attacker is None:
            return
        audit = self.lab.scenario.federation.rounds + 1
        try:
            self._attacker.finish(
                Final(round=audit, rows=len(self.lab.splits.train)), self.lab.scenario.attacker.deadline_s
            )
        except AttackError as error:
            self.lab.notice(f"{self.cell.name}: {error}")

    def _evidence(self, result: FederationResult) -> TapEvidence | None:
        """What the tap saw of the first client whose audit it saw, beside what the client's front gives."""
        observed = self._audited()[:CHECKED_BATCHES]
        if not observed:
            return None
        number = observed[0].client
        victim = Client(self.job, number, self.clients[number], connect_over_grpc(self.job))
        victim.front.load_state_dict(result.front.state_dict())
        victim.front.eval()
        own = [observation for observation in observed if observation.client == number]
        return tap_evidence(victim, self.clients[number].train.pixels, own, self._codec)

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
        return sorted(seen, key=lambda observation: (observation.client, observation.step))

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
        """A client's updates of this round were dropped."""
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
            seed=self.cell.seed,
            defense=ComponentConfig(name=self.cell.defense.name, options=self.cell.defense.options),
            attacks=tuple(attacks),
            live_aux=scenario.attacker.live_aux,
            live_images=scenario.attacker.live_images,
            keep_rounds=scenario.attacker.keep_rounds,
        )


def _create(scenario: Scenario, out: Path) -> RunStore:
    return RunStore.create(out, scenario.name, {"scenario": scenario.model_dump(mode="json"), **machine_manifest()})


def _reopen(scenario: Scenario, resume: Path) -> RunStore:
    store = RunStore.open(resume)
    if store.manifest["scenario"] != scenario.model_dump(mode="json"):
        raise UserError(f"{resume} was started with other settings; resume it without --set, or start a new run")
    return store


def _load_images(scenario: Scenario, data_root: Path | None, bus: Bus) -> tuple[Dataset, Splits]:
    options = scenario.data
    dataset = data.load(
        options.name,
        size=options.size,
        data_root=data_root,
        fallback=options.fallback,
        path=Path(options.path) if options.path else None,
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


def _shares(scenario: Scenario, splits: Splits, seed: int) -> list[ClientImages]:
    """Each client's own training images and its share of the held-out ones."""
    options = scenario.data
    clients = scenario.federation.clients
    own = data.partition(splits.train.labels, clients=clients, seed=seed, scheme=options.partition, alpha=options.alpha)
    held_out = data.partition(splits.test.labels, clients=clients, seed=seed, scheme="iid")
    return [ClientImages(splits.train[a], splits.test[b]) for a, b in zip(own, held_out, strict=True)]


def _context() -> Context:
    return Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})


@contextmanager
def _one_thread() -> Iterator[None]:
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
