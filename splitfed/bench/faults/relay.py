"""The attacker's relay with its tap: a thread of this process, or a process of its own that can be struck."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol

from splitfed.bench.faults import child
from splitfed.bench.faults.stopping import Victim
from splitfed.wire.relay import Relay
from splitfed.wire.tap import Tap


class RunningRelay(Protocol):
    """A relay that runs."""

    address: str

    def stop(self) -> None:
        """End it."""


def tapped(server: str) -> Relay:
    """A relay to this server, with a tap that reads along."""
    return Relay(server, observer=Tap(lambda _: None, notice=lambda _: None)).start()


class RelayProcess:
    """The same in a process of its own."""

    def __init__(self, server: str) -> None:
        self._process, self._pipe = child.start(_relay, server)
        self.address: str = self._pipe.recv()
        assert self._process.pid is not None
        self._victim = Victim(self._process.pid)

    def strike(self, how: str) -> None:
        """Kill it, freeze it, or starve it."""
        self._victim.strike(how)

    def stop(self) -> None:
        """End it."""
        self._victim.let_go()
        child.end(self._process)
        self._pipe.close()


def _relay(pipe: Connection, server: str) -> None:
    pipe.send(tapped(server).address)
    with suppress(EOFError):
        pipe.recv()
