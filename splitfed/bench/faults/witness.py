"""Watches a run that meets faults: strikes what strikes between rounds, and writes down what is told."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from splitfed.bench.faults.proxy import ChaosProxy
from splitfed.bench.faults.relay import RelayProcess, RunningRelay, tapped
from splitfed.bench.faults.sabotage import DeathError, Sabotage
from splitfed.bench.faults.script import Fault
from splitfed.federation.backs import PhaseScore
from splitfed.models.front import Front
from splitfed.types import Phase
from splitfed.wire.session import Hello, SessionHost
from splitfed.wire.traffic import ServerTraffic

RELAY = ("relay is killed", "relay is frozen", "relay starves")
HALF_BYTES, FEW_BYTES = 400, 100
"""What is left of a checkpoint that is cut, and what a disk takes that is full."""


class Witness:
    """The watcher of all attempts of one run (`federation.watcher.Watcher`).

    Args:
        sabotage: the faults.
        checkpoint: where it is kept.
        on_begin: told of the first round of an attempt.
        alone: whether this process may have no processes of its own.

    Attributes:
        lost: (round, client, reason) as they were told.
        begins: the first round of each attempt; 0 for one that came to none.
        address: of the relay.
        proxies: the networks of the clients.
    """

    def __init__(
        self,
        sabotage: Sabotage,
        checkpoint: Path,
        *,
        on_begin: Callable[[int], object] = lambda _: None,
        alone: bool = False,
    ) -> None:
        self.lost: list[tuple[int, int, str]] = []
        self.begins: list[int] = []
        self.address = ""
        self.proxies: Sequence[ChaosProxy] = ()
        self._sabotage = sabotage
        self._checkpoint = checkpoint
        self._on_begin = on_begin
        self._alone = alone
        self._server = ""
        self._relay: RunningRelay | None = None
        self._struck_relay = False
        sabotage.on_step = self._on_step

    def hosted(self, host: SessionHost) -> SessionHost:
        """The same one."""
        return host

    def serving(self, server_address: str, traffic: ServerTraffic) -> None:  # noqa: ARG002
        """A new attempt has begun."""
        self._server = server_address
        self._restart_relay()

    def routes(self) -> list[str]:
        """Each client has a network of its own before it."""
        return [self._server]

    def prepared(self, done: int, total: int) -> None:
        """Nothing strikes here."""

    def front_sent(self, round_number: int, front: Front) -> None:  # noqa: ARG002
        """A round begins, with what strikes at its beginning."""
        if self.begins[-1] == 0:
            self.begins[-1] = round_number
            self._on_begin(round_number)
        if self._struck_relay:
            self._restart_relay()
        strike = self._sabotage.strike
        if strike(("server dies between rounds",), round_number):
            raise DeathError
        if strike(("server is killed between rounds",), round_number):
            os.kill(os.getpid(), signal.SIGKILL)
        if strike(("server finds half a checkpoint",), round_number):
            os.truncate(self._checkpoint, HALF_BYTES)
            raise DeathError
        if strike(("client all raise",), round_number):
            self._sabotage.all_crash = round_number
        if strike(("network all are parted",), round_number):
            for proxy in self.proxies:
                proxy.part()

    def client_lost(self, round_number: int, client: int, reason: str) -> None:
        """A client is given up: what held it lets go."""
        self.lost.append((round_number, client, reason))
        self._sabotage.lost_event(round_number, client).set()
        self.proxies[client].heal()

    def round_finished(self, round_number: int, train: PhaseScore, test: PhaseScore) -> None:  # noqa: ARG002
        """A round is about to be kept, with what strikes before it is."""
        strike = self._sabotage.strike
        if strike(("server dies before a round is kept",), round_number):
            raise DeathError
        if strike(("server cannot keep a round",), round_number):
            with suppress(FileNotFoundError):
                self._checkpoint.rename(self._set_aside)
            self._checkpoint.mkdir()
        if strike(("server has no disk",), round_number):
            resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, FEW_BYTES))

    def mend(self) -> None:
        """What a user does before the run goes on."""
        if self._checkpoint.is_dir():
            self._checkpoint.rmdir()
            with suppress(FileNotFoundError):
                self._set_aside.rename(self._checkpoint)

    def stop(self) -> None:
        """End the relay."""
        if self._relay is not None:
            self._relay.stop()
            self._relay = None

    @property
    def _set_aside(self) -> Path:
        return self._checkpoint.with_suffix(".aside")

    def _restart_relay(self) -> None:
        self.stop()
        self._struck_relay = False
        is_to_be_struck = not self._alone and any(fault.name in RELAY for fault in self._unstruck())
        self._relay = RelayProcess(self._server) if is_to_be_struck else tapped(self._server)
        self.address = self._relay.address

    def _unstruck(self) -> list[Fault]:
        return [fault for fault in self._sabotage.script.faults if fault not in self._sabotage.struck]

    def _on_step(self, hello: Hello, step: int) -> None:
        fault = self._sabotage.strike(RELAY, hello.round, hello.phase, hello.client, step)
        if fault is not None:
            assert isinstance(self._relay, RelayProcess)
            self._struck_relay = True
            self._relay.strike(fault.name)


def phase_of(reason: str) -> Phase:
    """In what a client was lost, by what was told of it."""
    if reason.startswith("the test of round"):
        return Phase.TEST
    return Phase.AUDIT if reason.startswith("the audit") else Phase.TRAIN
