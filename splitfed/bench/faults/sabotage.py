"""The faults of one script that have not struck yet: each strikes once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

from splitfed.bench.faults.kinds import Party
from splitfed.bench.faults.script import Fault, Script
from splitfed.types import Phase
from splitfed.wire.session import Hello

LONGEST_S = 60.0
"""Nothing that is held waits longer."""


class CrashError(RuntimeError):
    """A client that dies."""


class DeathError(Exception):
    """A server that dies."""


class Sabotage:
    """What the parts of a run share.

    Attributes:
        script: what is to happen.
        struck: the faults that have struck.
        let_go: by (round, client): set once the client is told of as lost, or the run is over.
        death: set once the server is to die.
        pids: of clients that are processes, by number.
        all_crash: the round in which every client crashes, or None.
        on_step: called before each step of each client.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.struck: list[Fault] = []
        self.death = threading.Event()
        self.pids: dict[int, int] = {}
        self.all_crash: int | None = None
        self.on_step: Callable[[Hello, int], None] = lambda *_: None
        self._let_go: dict[tuple[int, int], threading.Event] = {}
        self._lock = threading.Lock()

    def strike(
        self,
        names: Sequence[str],
        round_number: int,
        phase: Phase | None = None,
        client: int | None = None,
        step: int | None = None,
    ) -> Fault | None:
        """A fault of one of these kinds whose place this is; it has struck now. What is None is any."""
        here = {"round": round_number, "phase": phase, "client": client, "step": step}
        wanted = {key: value for key, value in here.items() if value is not None}
        with self._lock:
            for fault in self.script.faults:
                is_here = all(getattr(fault, key) == value for key, value in wanted.items())
                if fault.name in names and fault not in self.struck and is_here:
                    self.struck.append(fault)
                    return fault
        return None

    def stands_still(self, round_number: int, phase: Phase, client: int) -> bool:
        """Whether a fault keeps this client from answering in this phase."""
        place = (round_number, phase, client)
        return any(f.kind.freezes and (f.round, f.phase, f.client) == place for f in self.struck)

    def process_fault(self, round_number: int, phase: Phase, client: int) -> Fault | None:
        """The fault that this client is to meet here as a process of its own; it has not struck yet."""
        place = (round_number, phase, client)
        for fault in self.script.of(Party.CLIENT):
            here = (fault.round, fault.phase, fault.client) == place
            if here and fault.kind.process and fault not in self.struck:
                return fault
        return None

    def has_struck(self, fault: Fault) -> None:
        """It did, in another process."""
        with self._lock:
            if fault not in self.struck:
                self.struck.append(fault)

    def hold(self, fault: Fault) -> None:
        """Stand still until this fault's client is told of as lost."""
        assert self.lost_event(fault.round, fault.client).wait(LONGEST_S), f"{fault} was never told of"

    def lost_event(self, round_number: int, client: int) -> threading.Event:
        """Set once this client is told of as lost in this round, or the run is over."""
        with self._lock:
            return self._let_go.setdefault((round_number, client), threading.Event())

    def let_all_go(self) -> None:
        """The run is over: nothing stands still any more."""
        with self._lock:
            for event in self._let_go.values():
                event.set()

    def draws(self, fault: Fault) -> random.Random:
        """What else is random about a fault."""
        return random.Random(f"{self.script.seed}-{self.script.number}-{fault.number}")
