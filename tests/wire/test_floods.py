"""Many clients that come at once are served; a stranger that opens streams without end delays nobody."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import grpc
import pytest
import torch
from hpack import Encoder
from hyperframe.frame import HeadersFrame, SettingsFrame

from splitfed.wire.address import split_address
from splitfed.wire.http2 import PREFACE
from splitfed.wire.limits import METHOD, STREAMS_PER_CONNECTION
from splitfed.wire.link import GrpcLink
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello
from tests.wire.hosts import RUN, SECRET, WIDTH, ToyHost, ToySession, hello

CLIENTS = 256
"""As many as a scenario may have."""
STREAMS = 3000
HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", METHOD),
    (":authority", "stranger"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


class Crowd(ToyHost):
    """Takes as many clients as there may be."""

    def open(self, hello: Hello) -> ToySession:
        assert hello.run == RUN
        with self._lock:
            self.opened += 1
            session = self.sessions[hello.client] = ToySession(hello.phase)
        return session


def work(link: GrpcLink) -> None:
    link.forward(0, torch.ones(2, WIDTH), torch.zeros(2, dtype=torch.int64))


@contextmanager
def flood(address: str) -> Iterator[None]:
    """One connection, on which a stranger opens streams as fast as bytes go, and waits for nothing."""
    encoder = Encoder()
    said = [PREFACE, SettingsFrame(0).serialize()]
    for number in range(STREAMS):
        frame = HeadersFrame(2 * number + 1, encoder.encode(HEADERS))
        frame.flags.add("END_HEADERS")
        said.append(frame.serialize())
    with socket.create_connection(split_address(address)) as stranger:
        reader = threading.Thread(target=_drain, args=(stranger,))
        reader.start()
        with suppress(OSError):  # whoever breaks the rules may be cut off
            stranger.sendall(b"".join(said))
        yield
        with suppress(OSError):
            stranger.shutdown(socket.SHUT_RDWR)
        reader.join()


def _drain(stranger: socket.socket) -> None:
    with suppress(OSError):
        while stranger.recv(65536):
            pass


@pytest.mark.slow
def test_all_clients_may_come_at_once_and_come_back() -> None:
    host = Crowd()
    with (
        SplitServer(host, secret=SECRET, max_streams=CLIENTS + 4) as server,
        ThreadPoolExecutor(CLIENTS) as threads,
        ExitStack() as stack,
    ):

        def dial(client: int) -> GrpcLink:
            return GrpcLink([server.address], hello(client=client), retries=0, deadline_s=30)

        for _ in range(2):  # the second time while their older streams are still open
            for link in threads.map(dial, range(CLIENTS)):
                stack.callback(link.close)
                work(link)
    assert not server.counters.refused
    assert host.opened == 2 * CLIENTS


@pytest.mark.parametrize("connections", [1, 8])
def test_streams_of_a_flood_do_not_reach_our_code(connections: int) -> None:
    with SplitServer(ToyHost(), secret=SECRET) as server, ExitStack() as stack:
        before = stack.enter_context(GrpcLink([server.address], hello()))
        for _ in range(connections):
            stack.enter_context(flood(server.address))
        work(before)
        for client in (1, 2):
            with GrpcLink([server.address], hello(client=client), retries=0, deadline_s=5) as link:
                work(link)
    assert server.counters.streams <= 3 + 2 * STREAMS_PER_CONNECTION * connections
    assert set(server.counters.refused) <= {"BAD_TOKEN"}


def test_streams_that_share_a_connection_and_keep_to_the_rules_wait_for_their_turn() -> None:
    """gRPC's own clients open no more at once than the server has said, and hold back the rest.

    One may be opened a moment too early, while the server still counts the one before: it is reset unread, and tried
    again, as clients do.
    """
    count = 10 * STREAMS_PER_CONNECTION
    with (
        SplitServer(ToyHost(), secret=SECRET) as server,
        grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        stream = channel.stream_stream(METHOD, bytes, bytes)
        assert stream(iter(())).code() is grpc.StatusCode.UNAUTHENTICATED  # by then the limit is known
        calls = deque(stream(iter(())) for _ in range(count))
        while calls:
            call = calls.popleft()
            if call.code() is grpc.StatusCode.UNAVAILABLE and "error code 7" in call.details():  # REFUSED_STREAM
                calls.append(stream(iter(())))
            else:
                assert call.code() is grpc.StatusCode.UNAUTHENTICATED, call.details()
    assert server.counters.refused == {"BAD_TOKEN": 1 + count}, "each was told once"
