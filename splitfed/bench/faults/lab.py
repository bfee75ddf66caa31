"""Strikes the attacker's process under a whole cell, and the lab itself under a whole run."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from splitfed.attacker import protocol
from splitfed.bench.faults import child, world
from splitfed.bench.faults.kinds import Party
from splitfed.bench.faults.script import Fault, Script
from splitfed.bench.faults.stopping import Victim
from splitfed.experiment import run as experiment
from splitfed.experiment.cell import measure
from splitfed.experiment.context import CellContext, RunContext
from splitfed.experiment.images import load_images
from splitfed.experiment.provenance import provenance
from splitfed.experiment.stage import Hear, OnThisMachine, Played
from splitfed.federation.checkpoint import Checkpoint
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.files import write_whole
from splitfed.metrics.fingerprint import fingerprint
from splitfed.records.bus import Bus
from splitfed.records.events import ClientLost, Event, RoundFinished
from splitfed.records.manifest import Manifest
from splitfed.records.reconstructions import FOLDER
from splitfed.records.results import CellResult
from splitfed.records.store import RunStore
from splitfed.roles.lab_protocol import Verdict
from splitfed.runners import local_clients
from splitfed.runners.watched import TrainingWatcher

Judged = tuple[dict[str, Any], list[str]]
DEADLINE_S = 60.0
"""How long a run may take that is to be killed."""
NOT_AWAITED, NOT_AWAITED_S = ("attacker is frozen", "attacker starves"), 2.0
"""Attackers that do not end, or late, and how long they are waited for."""


class StruckStage:
    """A stage whose attacker meets its fault."""

    def __init__(self, fault: Fault) -> None:
        self.result: FederationResult | None = None
        self.struck = False
        self._fault = fault
        self._victim: Victim | None = None
        self._context: CellContext | None = None

    def __call__(self, context: CellContext, hear: Hear) -> Played:
        """Play one cell."""
        self._context = context

        def overhear(message: protocol.Message | Verdict) -> None:
            if isinstance(message, protocol.Attacked) and self._fault.name == "attacker writes garbage":
                file = context.folder / FOLDER / message.reconstructions
                self.struck = file.is_file()
                write_whole(file, b"garbage")
            hear(message)

        try:
            return OnThisMachine(train=self._train)(context, overhear)
        finally:
            if self._victim is not None:
                self._victim.let_go()

    def _train(
        self, job: Job, clients: Sequence[ClientImages], watcher: TrainingWatcher, *, checkpoint: Path
    ) -> FederationResult:
        stepped = watcher.stepped

        def strike(report: StepReport) -> None:
            fault = self._fault
            if (report.round, report.client, report.step) == (fault.round, fault.client, fault.step):
                self._strike()
            stepped(report)

        setattr(watcher, "stepped", strike)  # noqa: B010 - mypy takes the plain form for a mistake
        self.result = local_clients.train(job, clients, watcher, checkpoint=checkpoint)
        if self._fault.name == "attacker is killed at the end":
            self._strike()
        return self.result

    def _strike(self) -> None:
        assert self._context is not None
        folder = str(self._context.folder.resolve())
        for process in psutil.Process().children():
            if any(folder in argument for argument in process.cmdline()):
                self._victim = Victim(process.pid)
                self._victim.strike(self._fault.name.removesuffix(" at the end"))
                self.struck = True


def strike_attacker(script: Script, folder: Path) -> Judged:
    """One cell with an attacker that meets its fault: training must be that of a run without one."""
    (fault,) = script.faults
    deadline_s = NOT_AWAITED_S if fault.name in NOT_AWAITED else world.NEVER_S
    scenario = world.scenario(script.clients, script.rounds, attack_deadline_s=deadline_s)
    dataset, splits = load_images(scenario, None, Bus())
    lost: list[str] = []
    stage = StruckStage(fault)
    with RunStore.create(
        folder, scenario.name, Manifest.of(scenario.model_dump(mode="json"), provenance(dataset, None))
    ) as store:
        bus = Bus(lambda event: _note_loss(event, lost), record=store.append_event)
        (cell,) = scenario.cells()
        found = measure(RunContext(scenario, store, bus, dataset, splits), cell, stage)
    wrong = [f"{name} was lost" for name in lost]
    if not stage.struck:
        wrong.append(f"never struck: {fault.name}")
    return {"valid": found.valid, "gates": _failed(found)}, [
        *wrong,
        *_of_training(script, stage.result),
        *_of_gates(fault, found),
    ]


def strike_lab(script: Script, folder: Path) -> Judged:
    """One run that is killed at the end of a round, and resumed: its results must be those of a run without a fault."""
    (fault,) = script.faults
    process, pipe = child.start(_run_until, script, folder)
    with pipe:
        process.join(DEADLINE_S)
    code = child.end(process)
    (run,) = folder.iterdir()
    rounds: list[int] = []
    store = experiment.run(
        world.scenario(script.clients, script.rounds),
        out=folder,
        resume=run,
        subscribers=[lambda event: rounds.append(event.round) if isinstance(event, RoundFinished) else None],
    )
    (cell,) = store.results.cells
    wrong = [] if code == -signal.SIGKILL else [f"the lab ended with {code}"]
    if rounds != list(range(fault.round, script.rounds + 1)):
        wrong.append(f"trained the rounds {rounds} after round {fault.round} was cut off")
    return {"rounds": rounds, "valid": cell.valid}, [*wrong, *_of_results(script, store, cell)]


def _run_until(pipe: Connection, script: Script, folder: Path) -> None:  # noqa: ARG001
    (fault,) = script.faults

    def kill(event: Event) -> None:
        if isinstance(event, RoundFinished) and event.round == fault.round:
            os.kill(os.getpid(), signal.SIGKILL)

    experiment.run(world.scenario(script.clients, script.rounds), out=folder, subscribers=[kill])


def _of_results(script: Script, store: RunStore, cell: CellResult) -> list[str]:
    reference = world.reference(script.clients, script.rounds, "none", frozenset())
    (path,) = store.checkpoints_dir.glob("*.pt")
    kept = Checkpoint.load(path)
    assert kept is not None
    found = {
        "front": fingerprint(kept.front),
        "back": fingerprint(kept.back),
        "history": kept.history,
        "accuracy": (cell.accuracy, cell.train_accuracy),
    }
    return _differences(found, reference)


def strike(script: Script, folder: Path) -> Judged:
    """Play and judge a script whose fault strikes the attacker or the lab."""
    lab = any(fault.kind.target is Party.LAB for fault in script.faults)
    return (strike_lab if lab else strike_attacker)(script, folder)


def _note_loss(event: Event, lost: list[str]) -> None:
    if isinstance(event, ClientLost):
        lost.append(f"client {event.client} in round {event.round}: {event.reason}")


def _of_training(script: Script, result: FederationResult | None) -> list[str]:
    if result is None:
        return ["there is no result"]
    reference = world.reference(script.clients, script.rounds, "none", frozenset())
    return _differences(world.digest(result), reference)


def _differences(found: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {value}; without a fault {reference[name]}"
        for name, value in found.items()
        if value != reference[name]
    ]


def _of_gates(fault: Fault, found: CellResult) -> list[str]:
    gate = fault.kind.reason
    if gate and found.gates.get(gate) is not False:
        return [f"the gate {gate} passes: {found.gate_details.get(gate)}"]
    return []


def _failed(found: CellResult) -> list[str]:
    return [gate for gate, passed in found.gates.items() if not passed]
