"""Freeze, kill and starve the attacker under many clients: no client may lose a round to it.

    splitfed bench soak --faults 12 --clients 16 --seed 0

Each fault is one run on scikit-learn's digits over real gRPC, with the attacker's relay in a process of its own between
clients and server. At a step that the seed draws, the relay is stopped (SIGSTOP), killed (SIGKILL), or starved: let run
for a tenth of the time only. One JSON line per fault says what became of the clients; exit code 1 where one of them
missed a round or an audit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from splitfed.bench.arguments import positive
from splitfed.bench.measure import print_line
from splitfed.config.load import validate
from splitfed.config.scenario import Scenario
from splitfed.experiment import run as experiment
from splitfed.experiment.attacker_process import AttackerProcess
from splitfed.records import events
from splitfed.records.events import Event

ROUNDS = 3
IMAGES, BATCH = 1200, 16
STARVED_S, FED_S = 0.09, 0.01
"""How long a starved process is stopped, and how long it then runs, in turn."""


def scenario(clients: int, seed: int) -> Scenario:
    """A small federation of many clients, with an attacker that is not waited for long."""
    return validate(
        {
            "name": "soak",
            "seed": seed,
            "data": {"name": "digits", "train": IMAGES, "aux": 200, "test": 200},
            "model": {"width": 32},
            "federation": {"clients": clients, "rounds": ROUNDS, "batch_size": BATCH, "stream_deadline_s": 60},
            "attacker": {"margin_db": 0.0, "deadline_s": 2.0},
            "defense": [{"name": "none"}],
            "attack": [{"name": "ridge"}],
        },
        source="soak",
    )


class Trouble:
    """Does something to the attacker's process once training has come so far."""

    def __init__(self, kind: str, at_round: int, at_step: int) -> None:
        self.kind, self.at_round, self.at_step = kind, at_round, at_step
        self.pid: int | None = None
        self.done = threading.Event()
        self._over = threading.Event()
        self.lost: list[str] = []

    def __call__(self, event: Event) -> None:
        """A subscriber of the run's events."""
        if isinstance(event, events.ClientLost):
            self.lost.append(f"client {event.client}, round {event.round}: {event.reason[:200]}")
        here = isinstance(event, events.ClientProgress) and (event.round, event.step) >= (self.at_round, self.at_step)
        if here and self.pid is not None and not self.done.is_set():
            self.done.set()
            {"freeze": self._freeze, "kill": self._kill, "starve": self._starve}[self.kind]()

    def _freeze(self) -> None:
        self._send(signal.SIGSTOP)

    def _kill(self) -> None:
        self._send(signal.SIGKILL)

    def _starve(self) -> None:
        threading.Thread(target=self._stop_and_go, daemon=True).start()

    def _stop_and_go(self) -> None:
        while not self._over.is_set():
            self._send(signal.SIGSTOP)
            time.sleep(STARVED_S)
            self._send(signal.SIGCONT)
            time.sleep(FED_S)

    def _send(self, number: signal.Signals) -> None:
        assert self.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self) -> None:
        """Let the process go on, so that it can be ended."""
        self._over.set()
        if self.pid is not None:
            self._send(signal.SIGCONT)


@contextlib.contextmanager
def attacker_told_to(trouble: Trouble) -> Any:
    """The attacker of the next run, known by its process number."""
    start: Callable[[AttackerProcess], str] = AttackerProcess.start

    def watched(handle: AttackerProcess) -> str:
        address = start(handle)
        trouble.pid = handle.pid
        return address

    setattr(AttackerProcess, "start", watched)  # noqa: B010 - mypy takes the plain form for a mistake
    try:
        yield
    finally:
        setattr(AttackerProcess, "start", start)  # noqa: B010
        trouble.end()


def one_fault(number: int, clients: int, seed: int) -> dict[str, Any]:
    """One run with one fault: what was done to the attacker, and what became of the clients."""
    draw = random.Random(f"{seed}-{number}")
    steps = IMAGES // clients // BATCH
    trouble = Trouble(("freeze", "kill", "starve")[number % 3], draw.randint(1, ROUNDS), draw.randrange(steps))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, attacker_told_to(trouble):
        run = experiment.run(scenario(clients, seed), out=Path(folder), subscribers=[trouble])
        (cell,) = run.results.cells  # read before the folder goes
    return {
        "fault": trouble.kind,
        "round": trouble.at_round,
        "step": trouble.at_step,
        "struck": trouble.done.is_set(),
        "clients": clients,
        "lost": trouble.lost,
        "missed_rounds": cell.missed_rounds,
        "seconds": round(time.monotonic() - began, 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per fault; returns whether a client lost anything."""
    parser = argparse.ArgumentParser(
        prog="splitfed bench soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=positive, default=12, help="runs, one fault each (default 12)")
    parser.add_argument("--clients", type=positive, default=16, help="in the federation (default 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults and of the runs (default 0)")
    options = parser.parse_args(argv)
    harmed = 0
    for number in range(options.faults):
        outcome = one_fault(number, options.clients, options.seed)
        print_line(outcome)
        harmed += bool(outcome["lost"] or outcome["missed_rounds"] or not outcome["struck"])
    return 1 if harmed else 0
