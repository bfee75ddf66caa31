"""A TCP relay between clients and the server: it copies bytes unchanged, and hands a copy to an observer.

Forwarding never waits for the observer. What the observer is too slow for is dropped from its copy and counted;
as one lost byte makes the rest of a connection unreadable, it is told, and gets no more of that connection.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from splitfed.wire.address import cannot_listen, join_address, split_address
from splitfed.wire.backlog import Backlog, Direction, Observer
from splitfed.wire.limits import HELLO_S, SEND_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 256 * 1024
_BACKLOG_BYTES = 256 * 2**20
_DIAL_S = 10.0
_PAUSE_S = 0.1
"""Between two tries to take a connection for which the system has no room."""
_PENDING_CONNECTIONS = 128

__all__ = ["Direction", "Observer", "Relay"]


class Relay:
    """Listens on ``listen`` and passes each connection on to ``upstream``; a context manager.

    Args:
        upstream: ``host:port`` of the server, ``[host]:port`` for IPv6.
        listen: the same for clients; port 0 takes a free one, see `address`.
        observer: who gets the copy; without one, bytes only pass.
        backlog_bytes: how much of the copy may wait for the observer.
        linger_s: how long a client may stay after the server has ended the connection.
        send_s: how long a peer may take none of what is sent to it.
        notice: gets a sentence for the user, once, when the system has no room for further connections.

    Raises:
        UserError: `listen` cannot be listened on, or one of the two is no address.
    """

    def __init__(
        self,
        upstream: str,
        *,
        listen: str = "127.0.0.1:0",
        observer: Observer | None = None,
        backlog_bytes: int = _BACKLOG_BYTES,
        linger_s: float = HELLO_S,
        send_s: float = SEND_S,
        notice: Callable[[str], None] = logger.warning,
    ) -> None:
        self._upstream = split_address(upstream)
        self._backlog = None if observer is None else Backlog(observer, backlog_bytes)
        self._listener = _listen(listen)
        self.address = join_address(split_address(listen)[0], self._listener.getsockname()[1])
        self._linger_s = linger_s
        self._send_s = send_s
        self._notice = notice
        self._noticed: set[str] = set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._stopping = threading.Event()
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
            self._stopping.set()
            _shut((self._listener, *self._open), socket.SHUT_RDWR)
        for thread in self._running():
            thread.join()
        self._listener.close()
        if self._backlog is not None:
            self._backlog.stop()

    def _spawn(self, target: Callable[..., None], *args: object) -> threading.Thread:
        """Start a thread.

        Raises:
            OSError: the system has no room for another one.
        """
        thread = threading.Thread(target=target, args=args, name="splitfed-relay", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from error
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
        """Take connections until `stop`. One for which there is no room waits, or is cut where it was taken already."""
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError as error:  # among others: shut by `stop`
                self._no_room(error)
                continue
            self.connections += 1
            try:
                self._spawn(self._relay, self.connections, client)
            except OSError as error:
                client.close()
                self._no_room(error)

    def _no_room(self, error: OSError) -> None:
        """Pause; say why, the first time."""
        reason = error.strerror or str(error)
        if reason not in self._noticed and not self._stopping.is_set():
            self._noticed.add(reason)
            self._notice(
                f"relay: no room for another connection ({reason}); it waits until others end. "
                "Raise the limits of open files and processes (ulimit -n, ulimit -u)"
            )
        self._stopping.wait(_PAUSE_S)

    def _relay(self, connection: int, client: socket.socket) -> None:
        """Both directions of one connection: until the server has ended, and a while for what the client yet says."""
        server = self._dial()
        if server is None:
            client.close()
            return
        try:
            with self._kept_open(client, server):
                forth = self._spawn(self._copy, connection, Direction.TO_SERVER, client, server)
                self._copy(connection, Direction.TO_CLIENT, server, client)
                forth.join(self._linger_s)
                _shut((client, server), socket.SHUT_RDWR)  # a client that stays all the same would hold its place
                forth.join()
        except OSError as error:
            self._no_room(error)
        finally:
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
            if self._stopping.is_set():
                _shut(ends, socket.SHUT_RDWR)
        try:
            for end in ends:
                with suppress(OSError):  # a peer that has left already
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _time(self._send_s))
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


def _time(seconds: float) -> bytes:
    """A ``struct timeval``."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))


def _listen(address: str) -> socket.socket:
    host, port = split_address(address)
    try:
        family = _family(host)
        # "::" means all addresses of the machine, as it does to gRPC
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=_PENDING_CONNECTIONS, dualstack_ipv6=both)
    except OSError as error:
        raise cannot_listen(address, error) from None


def _family(host: str) -> socket.AddressFamily:
    """IPv4 where the host has such an address, else IPv6."""
    families = {family for family, *_ in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return socket.AF_INET if socket.AF_INET in families else socket.AF_INET6


def _shut(ends: Iterable[socket.socket], how: int) -> None:
    for end in ends:
        with suppress(OSError):  # it is gone already
            end.shutdown(how)
