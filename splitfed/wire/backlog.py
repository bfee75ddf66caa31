"""What waits for an observer of the relay, so that forwarding never does."""

from __future__ import annotations

import logging
import threading
from enum import Enum
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)


class Direction(Enum):
    """Which way bytes flow."""

    TO_SERVER = "client to server"
    TO_CLIENT = "server to client"


class Observer(Protocol):
    """Gets a copy of all bytes, from one thread, in the order of each connection and direction."""

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        """These bytes passed."""

    def dropped(self, connection: int) -> None:
        """Bytes of this connection were lost to the observer (not to the peers); no more of it will come."""

    def closed(self, connection: int) -> None:
        """This connection is over."""


class Backlog:
    """Calls ``observer`` from a thread of its own, with at most ``limit_bytes`` waiting.

    Beyond that a connection's bytes are dropped. One lost byte makes the rest of a connection unreadable, so the
    observer is told once, and gets no more of it. The same holds where the observer itself fails.
    """

    def __init__(self, observer: Observer, limit_bytes: int) -> None:
        self._observer = observer
        self._limit_bytes = limit_bytes
        self._calls: SimpleQueue[tuple[int, int, Callable[[], None]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._given_up: set[int] = set()  # gets no more bytes
        self._failed: set[int] = set()  # gets not even the bytes that wait already
        self._thread = threading.Thread(target=self._run, name="splitfed-observer", daemon=True)
        self.dropped_bytes = 0

    def start(self) -> None:
        """Begin to call the observer."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the observer has seen all that was put."""
        self._calls.put(None)
        self._thread.join()

    def put(self, connection: int, direction: Direction, data: bytes) -> None:
        """Have the observer see these bytes, if there is room."""
        with self._lock:
            if connection in self._given_up:
                self.dropped_bytes += len(data)
            elif self._waiting_bytes + len(data) > self._limit_bytes:
                self.dropped_bytes += len(data)
                self._give_up(connection)
            else:
                self._waiting_bytes += len(data)
                self._calls.put((connection, len(data), partial(self._received, connection, direction, data)))

    def close(self, connection: int) -> None:
        """Have the observer told that the connection is over."""
        with self._lock:
            self._given_up.discard(connection)
            self._calls.put((connection, 0, partial(self._observer.closed, connection)))

    def _give_up(self, connection: int) -> None:
        self._given_up.add(connection)
        self._calls.put((connection, 0, partial(self._observer.dropped, connection)))

    def _received(self, connection: int, direction: Direction, data: bytes) -> None:
        if connection not in self._failed:
            self._observer.received(connection, direction, data)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            connection, size, call = item
            try:
                call()
            except Exception:
                logger.exception("the observer failed on connection %d, and gets no more of it", connection)
                self._fail(connection)
            with self._lock:
                self._waiting_bytes -= size

    def _fail(self, connection: int) -> None:
        self._failed.add(connection)
        with self._lock:
            if connection not in self._given_up:
                self._give_up(connection)
