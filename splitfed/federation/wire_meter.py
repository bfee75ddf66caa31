"""What crosses the wire, said now and then while a cell goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from splitfed.records import events
from splitfed.wire.traffic import ServerTraffic

INTERVAL_S = 1.0
"""Between two times that it is said while a round runs."""


class WireMeter:
    """Reads the split service's counters for whoever watches a cell.

    Args:
        cell: its name.
        traffic: the counters.
        sealed: whether the wire is under TLS.
        tell: gets what is said.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        cell: str,
        traffic: ServerTraffic,
        *,
        sealed: bool,
        tell: Callable[[events.Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cell = cell
        self._traffic = traffic
        self._sealed = sealed
        self._tell = tell
        self._clock = clock
        self._round = 0
        self._lost: set[int] = set()
        self._lock = threading.Lock()
        self._next_s = clock()

    def begin(self, round_number: int) -> None:
        """A round begins, with all clients."""
        with self._lock:
            self._round = round_number
            self._lost.clear()

    def lose(self, client: int) -> None:
        """The round goes on without this client."""
        with self._lock:
            self._lost.add(client)

    def tick(self) -> None:
        """Something has crossed: say how much there was, unless that was said within `INTERVAL_S`."""
        with self._lock:
            now = self._clock()
            due = now >= self._next_s
            if due:
                self._next_s = now + INTERVAL_S
        if due:
            self.say()

    def say(self) -> None:
        """Say how much there was, at once."""
        traffic = self._traffic
        clients = [events.ClientWire(client=number, **vars(own)) for number, own in traffic.by_client().items()]
        with self._lock:
            said = events.WireCounted(
                cell=self._cell,
                round=self._round,
                clients=tuple(clients),
                refused=dict(traffic.refused),
                broken=traffic.broken,
                lost=tuple(sorted(self._lost)),
                sealed=self._sealed,
            )
        self._tell(said)
