"""A peer that is frozen is noticed, and costs no client its round."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from splitfed.types import Phase
from splitfed.wire.limits import KEEPALIVE, Keepalive
from splitfed.wire.link import GrpcLink
from splitfed.wire.reconnecting_stream import SilentAddresses
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello
from tests.wire.hosts import SECRET, WIDTH, ToyHost, ToySession, hello
from tests.wire.relay_process import RelayProcess

CLIENTS, STEPS, FROZEN_AT = 16, 6, 3
SOON = Keepalive(after_s=1.0, answer_s=1.0)
STATED_S = SOON.noticed_s + 6.0
"""A frozen peer is noticed within `noticed_s`; the rest is for a busy machine."""
LABELS = torch.zeros(2, dtype=torch.int64)


class LargeHost(ToyHost):
    """Takes any client."""

    def open(self, hello: Hello) -> ToySession:
        session = self.sessions[hello.client] = ToySession(hello.phase)
        return session


def test_sixteen_clients_finish_their_round_though_the_relay_freezes() -> None:
    host = LargeHost()
    frozen = threading.Barrier(CLIENTS + 1)
    with (
        SplitServer(host, secret=SECRET, max_streams=CLIENTS, keepalive=SOON) as server,
        RelayProcess(server.address) as relay,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):

        def work(client: int) -> tuple[float, float]:
            """Seconds that training took from the freeze on, and the evaluation after it."""
            addresses, silent = [relay.address, server.address], SilentAddresses()
            with GrpcLink(addresses, hello(client=client), keepalive=SOON, silent=silent) as link:
                for step in range(STEPS):
                    if step == FROZEN_AT:
                        frozen.wait()  # all have come so far
                        frozen.wait()  # the relay is frozen
                        began = time.monotonic()
                    link.forward(step, torch.ones(2, WIDTH), LABELS)
                link.done(STEPS, 2 * STEPS)
            trained = time.monotonic()
            with GrpcLink(addresses, hello(client=client, phase=Phase.TEST), keepalive=SOON, silent=silent) as link:
                link.done(0, 0)
            return trained - began, time.monotonic() - trained

        works = [pool.submit(work, client) for client in range(CLIENTS)]
        frozen.wait(30)
        relay.freeze()
        frozen.wait(30)
        seconds = [work.result(30) for work in works]
    assert max(training for training, _ in seconds) < STATED_S
    assert max(evaluation for _, evaluation in seconds) < SOON.noticed_s, "a silent relay was dialed again"
    assert server.counters.refused == {}


def test_a_relay_that_is_frozen_before_it_is_dialed_is_passed_over() -> None:
    with SplitServer(ToyHost(), secret=SECRET) as server, RelayProcess(server.address) as relay:
        relay.freeze()
        began = time.monotonic()
        with GrpcLink([relay.address, server.address], hello(), keepalive=SOON) as link:
            link.done(0, 0)
        assert time.monotonic() - began < STATED_S


def test_a_server_notices_a_frozen_relay_by_itself() -> None:
    with (
        SplitServer(ToyHost(), secret=SECRET, max_streams=1, keepalive=SOON) as server,
        RelayProcess(server.address) as relay,
        GrpcLink([relay.address], hello()),
    ):
        relay.freeze()
        began = time.monotonic()
        with GrpcLink([server.address], hello(client=1), retries=12) as other:
            other.done(0, 0)
        assert time.monotonic() - began < STATED_S


def test_a_frozen_peer_is_noticed_within_15_s() -> None:
    assert KEEPALIVE.noticed_s == 15


def test_a_silent_address_is_tried_again_in_the_next_round() -> None:
    silent = SilentAddresses()
    silent.add("relay:1", 3)
    assert silent.without(["relay:1", "server:1"], 3) == ("server:1",)
    assert silent.without(["relay:1", "server:1"], 4) == ("relay:1", "server:1")
    silent.add("server:1", 4)
    assert silent.without(["relay:1", "server:1"], 4) == ("relay:1", "server:1")
