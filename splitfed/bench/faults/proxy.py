"""The network of one client, as a TCP proxy that does to the bytes what it is told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from splitfed.wire.address import join_address, split_address
from splitfed.wire.backlog import Direction

_CHUNK_BYTES = 64 * 1024
_DIAL_S = 5.0
_RESET = struct.pack("ii", 1, 0)  # what is closed so is reset

Mischief = Callable[["Line", Direction, bytes], bytes | None]
"""What becomes of these bytes on their way; None where they go no further."""


class Line:
    """One connection of the client, and the one behind it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._ends = {Direction.TO_CLIENT: client, Direction.TO_SERVER: server}
        self._cut = threading.Event()
        self.change: Mischief | None = None
        """What becomes of all that passes here."""

    def send(self, direction: Direction, data: bytes) -> None:
        """Pass these bytes on."""
        self._ends[direction].sendall(data)

    def cut(self) -> None:
        """Reset both connections."""
        self._cut.set()
        for end in self._ends.values():
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RD)  # wakes up who reads; says nothing to the peer yet

    def half_close(self, direction: Direction) -> None:
        """Nothing more goes this way."""
        with suppress(OSError):
            self._ends[direction].shutdown(socket.SHUT_WR)

    def carry(self, handle: Mischief) -> None:
        """Pass bytes on in both directions until both have ended."""
        back = threading.Thread(target=self._pump, args=(Direction.TO_CLIENT, handle), daemon=True)
        back.start()
        self._pump(Direction.TO_SERVER, handle)
        back.join()
        for end in self._ends.values():
            end.close()

    def _pump(self, direction: Direction, handle: Mischief) -> None:
        (source,) = (end for way, end in self._ends.items() if way is not direction)
        try:
            while (data := source.recv(_CHUNK_BYTES)) and not self._cut.is_set():
                passed = handle(self, direction, data)
                if self._cut.is_set():
                    return
                if passed:
                    self.send(direction, passed)
        except OSError:
            self.cut()
        if not self._cut.is_set():
            self.half_close(direction)


class ChaosProxy:
    """Carries the connections of one client to `upstream`; a context manager.

    Args:
        upstream: gives the address to dial.

    Attributes:
        address: ``host:port`` to dial instead.
        refusing: how many of the next connections are cut at once.
        silent: how many of the next connections are taken and never carried anywhere.
        parted: set while all connections are cut at once.
    """

    def __init__(self, upstream: Callable[[], str]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = join_address("127.0.0.1", self._listener.getsockname()[1])
        self.refusing = 0
        self.silent = 0
        self.parted = threading.Event()
        self._mischief: Mischief | None = None
        self._lines: set[Line] = set()
        self._held: list[socket.socket] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="chaos-proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for end in self._held:
            end.close()

    @property
    def armed(self) -> bool:
        """Whether something that was to happen has not. Refusals need not: a client may have another way."""
        return self._mischief is not None or self.silent > 0

    def arm(self, mischief: Mischief) -> None:
        """Do this to what passes from now on, until `disarm`."""
        self._mischief = mischief

    def disarm(self) -> None:
        """Pass bytes on as they are."""
        self._mischief = None

    def part(self) -> None:
        """Cut all connections, and let none come about until `heal`."""
        self.parted.set()
        self.cut()

    def heal(self) -> None:
        """Let connections come about again."""
        self.parted.clear()

    def cut(self) -> None:
        """Reset all connections that there are."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.cut()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.parted.is_set() or self.refusing > 0:
                self.refusing = max(0, self.refusing - 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
            elif self.silent > 0:
                self.silent -= 1
                self._held.append(client)
            else:
                threading.Thread(target=self._carry, args=(client,), name="chaos-line", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(split_address(self._upstream()), timeout=_DIAL_S)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            with suppress(OSError):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = Line(client, server)
        with self._lock:
            self._lines.add(line)
        if self._over.is_set() or self.parted.is_set():
            line.cut()
        line.carry(self._handle)
        with self._lock:
            self._lines.discard(line)

    def _handle(self, line: Line, direction: Direction, data: bytes) -> bytes | None:
        passed: bytes | None = data
        if (mischief := self._mischief) is not None:
            passed = mischief(line, direction, data)
        return line.change(line, direction, passed) if line.change is not None and passed else passed
