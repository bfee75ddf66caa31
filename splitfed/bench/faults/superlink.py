"""Kills the SuperLink of a federation of processes, and starts it again on its database."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from splitfed.bench.faults import world
from splitfed.bench.faults.script import Fault, Script
from splitfed.config.scenario import Scenario
from splitfed.experiment import run as experiment
from splitfed.experiment.deployment import deployment, free_ports
from splitfed.experiment.images import load_images
from splitfed.records.bus import Bus
from splitfed.records.events import ClientLost, ClientProgress, Event, RoundFinished
from splitfed.records.results import CellResult
from splitfed.records.store import RunStore
from splitfed.roles.server import PLAIN, program
from splitfed.roles.straight import is_healthy

ANSWERS_S, POLL_S = 60.0, 0.1
"""How long one may take to answer after it was started."""
AWAY_S = (0.0, 4.0)
"""How long it may stay away, at least and at most."""
PATIENCE_S = 180.0
NOT_COMPARED = ("train_s", "attack_s")


class MortalSuperLink:
    """A context manager around a SuperLink, a subscriber of a run's events, and what kills it at one of them.

    Attributes:
        address: where it listens.
        struck: whether it was killed.
        lost: the clients that were lost.
    """

    def __init__(self, folder: Path, fault: Fault) -> None:
        (self._port,) = free_ports(1)
        self.address = f"127.0.0.1:{self._port}"
        self.struck = False
        self.lost: list[str] = []
        self._folder = folder
        self._fault = fault
        self._away_s = random.Random(f"{fault.round}-{fault.client}-{fault.step}").uniform(*AWAY_S)
        self._process: subprocess.Popen[bytes] | None = None
        self._error: Exception | None = None
        self._striker = threading.Thread(target=self._strike, daemon=True, name="striker")

    def __enter__(self) -> MortalSuperLink:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.struck:
            self._striker.join(ANSWERS_S)
        self._end()
        if self._error is not None and error is None:
            raise self._error

    def __call__(self, event: Event) -> None:
        """Hear how the run goes."""
        if isinstance(event, ClientLost):
            self.lost.append(f"client {event.client} in round {event.round}: {event.reason}")
        if not self.struck and self._is_time(event):
            self.struck = True
            self._striker.start()

    def _is_time(self, event: Event) -> bool:
        fault = self._fault
        if fault.step < 0:
            return isinstance(event, RoundFinished) and event.round == fault.round
        place = (fault.round, fault.client, fault.step)
        return isinstance(event, ClientProgress) and (event.round, event.client, event.step) >= place

    def _strike(self) -> None:
        self._end()
        time.sleep(self._away_s)
        try:
            self._start()
        except Exception as error:
            self._error = error

    def _end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        database = self._folder / "superlink.db"
        command = [program("flower-superlink"), "--insecure", "--isolation", "process", "--port", str(self._port)]
        command += ["--disable-runtime-dependency-installation", "--database", str(database)]
        with (self._folder / "superlink.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **PLAIN, "FLWR_HOME": str(self._folder)},
            )
        deadline = time.monotonic() + ANSWERS_S
        while not is_healthy(self.address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "superlink.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"no SuperLink: {said[-2000:]}")
            time.sleep(POLL_S)


def strike(script: Script, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """One run whose SuperLink is killed: its result must be that of a run on this machine, to the bit."""
    (fault,) = script.faults
    scenario = _scenario(script.clients, script.rounds)
    _, splits = load_images(scenario, None, Bus())
    with (
        MortalSuperLink(folder, fault) as link,
        deployment(
            folder / "parties",
            clients=script.clients,
            data_root=None,
            auxiliary=splits.aux,
            superlink=link.address,
        ),
    ):
        store = experiment.run(
            scenario, out=folder / "runs", runner="deploy", superlink=link.address, subscribers=[link]
        )
    found, wanted = _measured(store), _undisturbed(script.clients, script.rounds)
    wrong = [f"{lost} was lost" for lost in link.lost]
    if not link.struck:
        wrong.append(f"never struck: {fault.name}")
    wrong += [
        f"{name} is {found[name]}; without a fault {wanted[name]}" for name in wanted if found[name] != wanted[name]
    ]
    return {"valid": found["valid"], "accuracy": found["accuracy"]}, wrong


def _scenario(clients: int, rounds: int) -> Scenario:
    """No client dials again, which would cost bytes, and nobody is given up while the SuperLink is away."""
    return world.scenario(
        clients, rounds, round_deadline_s=PATIENCE_S, attack_deadline_s=PATIENCE_S, stream_deadline_s=PATIENCE_S
    )


@lru_cache(maxsize=8)
def _undisturbed(clients: int, rounds: int) -> Mapping[str, Any]:
    """What the same cell comes to on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        return _measured(experiment.run(_scenario(clients, rounds), out=folder))


def _measured(store: RunStore) -> Mapping[str, Any]:
    (cell,) = store.results.cells
    return _without_timings(cell)


def _without_timings(cell: CellResult) -> dict[str, Any]:
    return {name: value for name, value in cell.model_dump().items() if name not in NOT_COMPARED}
