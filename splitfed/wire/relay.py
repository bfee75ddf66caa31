"""A TCP relay between clients and the server: it copies bytes unchanged, and hands a copy to an observer.

Forwarding never waits for the observer. What the observer is too slow for is dropped from its copy and counted;
as one lost byte makes the rest of a connection unreadable, it is told, and gets no more of that connection.
"""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from splitfed.wire import limits
from splitfed.wire.backlog import Backlog, Direction, Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 256 * 1024
_BACKLOG_BYTES = 256 * 2**20
_DIAL_S = 10.0
_PENDING_CONNECTIONS = 128

__all__ = ["Direction", "Observer", "Relay"]


class Relay:
    """Listens on ``listen`` and passes each connection on to ``upstream``; a context manager.

    Args:
        upstream: ``host:port`` of the server.
        listen: ``host:port``; port 0 takes a free one, see `address`.
        observer: who gets the copy; without one, bytes only pass.
        backlog_bytes: how much of the copy may wait for the observer.

    Raises:
        UserError: the port is busy.
    """

    def __init__(
        self,
        upstream: str,
        *,
        listen: str = "127.0.0.1:0",
        observer: Observer | None = None,
        backlog_bytes: int = _BACKLOG_BYTES,
    ) -> None:
        self._upstream = limits.split_address(upstream)
        self._backlog = None if observer is None else Backlog(observer, backlog_bytes)
        self._listener = _listen(listen)
        self.address = f"{limits.split_address(listen)[0]}:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self.connections = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dropped_bytes(self) -> int:
        """How much of the observer's copy was dropped."""
        return 0 if self._backlog is None else self._backlog.dropped_bytes

    def start(self) -> Self:
        """Begin to relay."""
        if self._backlog is not None:
            self._backlog.start()
        self._spawn(self._accept)
        return self

    def stop(self) -> None:
        """Cut all connections, and wait until the observer has seen all that passed."""
        with self._lock:
            self._stopping = True
            _shut((self._listener, *self._open), socket.SHUT_RDWR)
        for thread in self._running():
            thread.join()
        self._listener.close()
        if self._backlog is not None:
            self._backlog.stop()

    def _spawn(self, target: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, name="splitfed-relay", daemon=True)
        thread.start()
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        return thread

    def _running(self) -> Iterator[threading.Thread]:
        """All threads, with those that start meanwhile."""
        while True:
            with self._lock:
                alive = [thread for thread in self._threads if thread.is_alive()]
            if not alive:
                return
            yield alive[0]

    def _accept(self) -> None:
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # shut by `stop`
            self.connections += 1
            self._spawn(self._relay, self.connections, client)

    def _relay(self, connection: int, client: socket.socket) -> None:
        """Both directions of one connection, until both have ended."""
        server = self._dial()
        if server is None:
            client.close()
            return
        with self._kept_open(client, server):
            back = self._spawn(self._copy, connection, Direction.TO_CLIENT, server, client)
            self._copy(connection, Direction.TO_SERVER, client, server)
            back.join()
        if self._backlog is not None:
            self._backlog.close(connection)

    def _dial(self) -> socket.socket | None:
        try:
            server = socket.create_connection(self._upstream, timeout=_DIAL_S)
        except OSError as error:
            logger.warning("relay: no connection to %s:%d: %s", *self._upstream, error)
            return None
        server.settimeout(None)
        return server

    @contextmanager
    def _kept_open(self, *ends: socket.socket) -> Iterator[None]:
        """Ready both ends, known to `stop` while they are in use."""
        with self._lock:
            self._open.update(ends)
            if self._stopping:
                _shut(ends, socket.SHUT_RDWR)
        for end in ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            yield
        finally:
            with self._lock:
                self._open.difference_update(ends)
            for end in ends:
                end.close()

    def _copy(self, connection: int, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        """Pass bytes on until ``source`` ends; then ``sink`` is told so, or both are cut if one broke."""
        try:
            while data := source.recv(_CHUNK_BYTES):
                if self._backlog is not None:  # before it is sent: an answer is never seen before its question
                    self._backlog.put(connection, direction, data)
                sink.sendall(data)
            _shut((sink,), socket.SHUT_WR)
        except OSError:
            _shut((source, sink), socket.SHUT_RDWR)


def _listen(address: str) -> socket.socket:
    host, port = limits.split_address(address)
    try:
        return socket.create_server((host, port), backlog=_PENDING_CONNECTIONS)
    except OSError as error:
        raise limits.busy(address, error.strerror or str(error)) from None


def _shut(ends: Iterable[socket.socket], how: int) -> None:
    for end in ends:
        with suppress(OSError):  # it is gone already
            end.shutdown(how)
