"""What goes into the relay comes out of it, byte for byte, whatever its observer does."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from splitfed.errors import UserError
from splitfed.wire.address import join_address, split_address
from splitfed.wire.backlog import Direction
from splitfed.wire.link import GrpcLink
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.tap import Tap
from tests.wire.hosts import SECRET, ToyHost, hello
from tests.wire.training import train_front

SIZE = 3_000_000


class Recorder:
    """An observer that keeps all it gets."""

    def __init__(self) -> None:
        self.bytes: dict[tuple[int, Direction], bytearray] = defaultdict(bytearray)
        self.lost: list[int] = []
        self.over: list[int] = []

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        self.bytes[connection, direction] += data

    def dropped(self, connection: int) -> None:
        self.lost.append(connection)

    def closed(self, connection: int) -> None:
        self.over.append(connection)


class Peer:
    """A server of one connection: sends ``answer`` and takes what it gets, at the same time."""

    def __init__(self, answer: bytes) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.got = b""
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self.listener, self.listener.accept()[0] as connection:
            sender = threading.Thread(target=send_all, args=(connection, self._answer))
            sender.start()
            self.got = read_all(connection)
            sender.join()

    def join(self) -> bytes:
        self._thread.join()
        return self.got


def send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def exchange(address: str, question: bytes) -> bytes:
    """Send ``question`` and end; what comes back until the other end ends too."""
    with socket.create_connection(split_address(address)) as connection:
        sender = threading.Thread(target=send_all, args=(connection, question))
        sender.start()
        answer = read_all(connection)
        sender.join()
    return answer


def noise(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


def test_bytes_pass_unchanged_in_both_directions_and_the_observer_gets_the_same() -> None:
    recorder = Recorder()
    peer = Peer(noise(2))
    with Relay(peer.address, observer=recorder) as relay:
        assert exchange(relay.address, noise(1)) == noise(2)
        assert peer.join() == noise(1)
    assert recorder.bytes[1, Direction.TO_SERVER] == noise(1)
    assert recorder.bytes[1, Direction.TO_CLIENT] == noise(2)
    assert recorder.over == [1]
    assert relay.dropped_bytes == 0


def test_bytes_pass_without_an_observer() -> None:
    peer = Peer(noise(2))
    with Relay(peer.address) as relay:
        assert exchange(relay.address, noise(1)) == noise(2)
        assert peer.join() == noise(1)


class Stuck(Recorder):
    """An observer that does not return before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        self.go.wait()
        super().received(connection, direction, data)


def test_an_observer_that_is_too_slow_loses_a_connection_and_the_peers_lose_nothing() -> None:
    stuck = Stuck()
    peer = Peer(noise(2))
    with Relay(peer.address, observer=stuck, backlog_bytes=SIZE // 2) as relay:
        assert exchange(relay.address, noise(1)) == noise(2)
        assert peer.join() == noise(1)
        stuck.go.set()
    assert stuck.lost == [1]
    seen = sum(len(copy) for copy in stuck.bytes.values())
    assert seen <= SIZE // 2
    assert relay.dropped_bytes == 2 * SIZE - seen
    assert noise(1).startswith(bytes(stuck.bytes[1, Direction.TO_SERVER]))


class Failing(Recorder):
    """An observer with a bug, on the first connection."""

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        if connection == 1:
            raise RuntimeError("a bug")
        super().received(connection, direction, data)


def test_an_observer_that_fails_is_left_alone_and_the_peers_lose_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing()
    first = Peer(noise(2))
    with Relay(first.address, observer=failing) as relay:
        assert exchange(relay.address, noise(1)) == noise(2)
        assert first.join() == noise(1)
    assert failing.lost == [1]
    assert caplog.text.count("Traceback") == 1


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with Relay(address) as relay:
        host, port = relay.address.split(":")
        with socket.create_connection((host, int(port))) as connection:
            assert connection.recv(1) == b""


def test_stopping_cuts_open_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(f"127.0.0.1:{listener.getsockname()[1]}").start()
        host, port = relay.address.split(":")
        with socket.create_connection((host, int(port))) as client, listener.accept()[0] as server:
            client.sendall(b"x")
            assert server.recv(1) == b"x"
            relay.stop()
            assert client.recv(1) == b""
            assert server.recv(1) == b""


def test_a_busy_port_is_the_users_mistake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 .*in use.* port 0 takes any"):
            Relay("127.0.0.1:1", listen=f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("no-such-host.invalid:0", "want an address of this machine"),
        ("192.0.2.1:0", "want an address of this machine"),
        ("::1:0", "want an IPv6 host in brackets"),
    ],
)
def test_where_it_cannot_listen_the_way_out_is_said(listen: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Relay("127.0.0.1:1", listen=listen)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_streams_pass_over_ipv6_and_are_tapped() -> None:
    seen: list[object] = []
    with (
        SplitServer(ToyHost(), secret=SECRET, address="[::1]:0") as server,
        Relay(server.address, listen="[::1]:0", observer=Tap(seen.append)) as relay,
    ):
        assert relay.address.startswith("[::1]:")
        train_front(GrpcLink([relay.address], hello()), 3)
    assert len(seen) == 3


CROWDED = """
import os, resource, sys
from splitfed.wire.relay import Relay
with Relay(sys.argv[1]) as relay:
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, used + 4))
    print(relay.address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def echo() -> Iterator[str]:
    """A server that sends back what it gets, on any number of connections."""

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # shut below
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield join_address(*listener.getsockname())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_too_many_open_files_are_said_once_and_connections_are_taken_again_when_others_end() -> None:
    with (
        echo() as upstream,
        subprocess.Popen(
            [sys.executable, "-P", "-c", CROWDED, upstream],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        address = split_address(process.stdout.readline().strip())
        crowd = [socket.create_connection(address) for _ in range(30)]
        said = [process.stderr.readline()]
        while "no room for another connection" not in said[-1] and said[-1]:
            said.append(process.stderr.readline())
        for connection in crowd:
            connection.close()
        assert comes_back(address)
        _, rest = process.communicate("", timeout=30)
    assert "".join([*said, rest]).count("no room for another connection (Too many open files)") == 1
    assert process.returncode == 0


def comes_back(address: tuple[str, int]) -> bool:
    """Whether a connection is relayed by now; some of the crowd may still be in the way."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(ConnectionError), socket.create_connection(address, timeout=20) as connection:
            connection.sendall(b"x")
            if connection.recv(1) == b"x":
                return True
    return False
