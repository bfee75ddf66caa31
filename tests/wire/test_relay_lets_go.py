"""The relay keeps no connection that its server has ended, and none whose peer takes nothing: others need the place."""

from __future__ import annotations

import socket
import threading

import pytest

from splitfed.wire.address import split_address
from splitfed.wire.backlog import Direction
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.stream import Waits
from tests.wire.hosts import SECRET, ToyHost


class Closing:
    """An observer that knows when a connection is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def received(self, connection: int, direction: Direction, data: bytes) -> None: ...

    def dropped(self, connection: int) -> None: ...

    def closed(self, connection: int) -> None:  # noqa: ARG002
        self.over.set()


def test_a_silent_client_goes_when_the_server_has_turned_it_out() -> None:
    observer = Closing()
    with (
        SplitServer(ToyHost(), secret=SECRET, waits=Waits(hello_s=0.3)) as server,
        Relay(server.address, observer=observer, linger_s=0.2) as relay,
        socket.create_connection(split_address(relay.address), timeout=10) as silent,
    ):
        while silent.recv(1024):
            pass
        assert observer.over.wait(10)


def test_a_client_that_still_speaks_when_the_server_has_ended_is_heard_a_while() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Relay(f"127.0.0.1:{listener.getsockname()[1]}") as relay,
        socket.create_connection(split_address(relay.address), timeout=10) as client,
        listener.accept()[0] as server,
    ):
        server.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: server.recv(1024), b"")) == b"last words"


def test_a_client_that_never_reads_is_cut_off() -> None:
    observer = Closing()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Relay(f"127.0.0.1:{listener.getsockname()[1]}", observer=observer, send_s=0.3, linger_s=0.2) as relay,
        socket.create_connection(split_address(relay.address)),
        listener.accept()[0] as server,
    ):
        server.settimeout(10)
        with pytest.raises(ConnectionError):
            _send_for_ever(server)
        assert observer.over.wait(10)


def _send_for_ever(server: socket.socket) -> None:
    while True:
        server.sendall(bytes(2**20))
