"""Loss, gradients and weights are those of the unsplit network to the bit, whatever carries the activations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from splitfed.types import Observation, Phase
from splitfed.wire.curious_host import CuriousHost
from splitfed.wire.link import DirectLink, GrpcLink
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.tap import Tap
from tests.wire.hosts import SECRET, ToyHost, hello, make_batches, make_front
from tests.wire.training import same, trace, trace_whole

STEPS = 8


@pytest.mark.parametrize("codec", ["float32", "sparse"])
def test_without_a_wire(codec: str) -> None:
    host = ToyHost()
    link = DirectLink(host, hello(codec=codec))
    assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))


@pytest.mark.parametrize("codec", ["float32", "sparse"])
def test_over_grpc(codec: str) -> None:
    host = ToyHost()
    with SplitServer(host, secret=SECRET) as server:
        link = GrpcLink([server.address], hello(codec=codec))
        assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))
        assert link.sent_bytes == server.counters.received_bytes
        assert link.received_bytes == server.counters.sent_bytes
    assert host.sessions[0].calls[-1] == f"finish {STEPS} {STEPS * 5}"


@pytest.mark.parametrize("codec", ["float32", "sparse"])
def test_through_a_tapped_relay(codec: str) -> None:
    host = ToyHost()
    seen: list[Observation] = []
    with (
        SplitServer(host, secret=SECRET) as server,
        Relay(server.address, observer=Tap(seen.append)) as relay,
    ):
        link = GrpcLink([relay.address, server.address], hello(codec=codec))
        assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))
    assert len(seen) == STEPS


def test_with_several_clients_at_once() -> None:
    host = ToyHost()
    with SplitServer(host, secret=SECRET) as server, ThreadPoolExecutor(3) as pool:
        futures = [
            pool.submit(
                lambda c: trace(GrpcLink([server.address], hello(client=c)), lambda: host.sessions[c].back, STEPS),
                client,
            )
            for client in range(3)
        ]
        whole = trace_whole(STEPS)
        assert all(same(future.result(), whole) for future in futures)


@pytest.mark.parametrize("codec", ["float16", "bfloat16", "int8"])
def test_a_lossy_codec_does_the_same_with_and_without_a_wire(codec: str) -> None:
    direct, remote = ToyHost(), ToyHost()
    with SplitServer(remote, secret=SECRET) as server:
        link = GrpcLink([server.address], hello(codec=codec))
        over_grpc = trace(link, lambda: remote.sessions[0].back, STEPS)
    without = trace(DirectLink(direct, hello(codec=codec)), lambda: direct.sessions[0].back, STEPS)
    assert same(over_grpc, without)
    assert not same(over_grpc, trace_whole(STEPS))


@pytest.mark.parametrize("phase", [Phase.TEST, Phase.AUDIT])
def test_evaluation_returns_no_gradient_and_changes_nothing(phase: Phase) -> None:
    host = ToyHost()
    front = make_front()
    with (
        SplitServer(host, secret=SECRET) as server,
        GrpcLink([server.address], hello(phase=phase)) as link,
    ):
        for step, (pixels, labels) in enumerate(make_batches(2)):
            assert link.forward(step, front(pixels), labels).gradient is None
        link.done(2, 10)
    assert host.sessions[0].calls == ["forward 0", "forward 1", "finish 2 10"]


def test_a_curious_server_keeps_each_activation() -> None:
    host = ToyHost()
    seen: list[Observation] = []
    link = DirectLink(CuriousHost(host, seen.append), hello())
    assert same(trace(link, lambda: host.sessions[0].back, STEPS), trace_whole(STEPS))
    assert [o.step for o in seen] == list(range(STEPS))
    assert all(torch.equal(o.activation, a) for o, a in zip(seen, host.sessions[0].seen, strict=True))
