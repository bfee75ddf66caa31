"""Who proves nothing gets nothing: no place, no worker, no memory, and no message of theirs is read."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import torch
from hyperframe.frame import SettingsFrame

from splitfed.errors import Refused
from splitfed.types import Phase
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.backlog import Direction
from splitfed.wire.exactly_once import Ledger
from splitfed.wire.frames import hello_frame, read_refusal_trailer
from splitfed.wire.http2 import PREFACE
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import PROOF_KEY, Metadata, client_token
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.stream import Waits
from tests.wire.hosts import SECRET, WIDTH, ToyHost, hello
from tests.wire.raw import STREAM, proof_of, raw_call

PLACES = 3


@pytest.fixture
def host() -> ToyHost:
    return ToyHost()


@pytest.fixture
def server(host: ToyHost) -> Iterator[SplitServer]:
    with SplitServer(host, secret=SECRET, max_streams=PLACES) as server:
        yield server


def altered(proof: Metadata) -> Metadata:
    """A proof whose claim is another than the one that was proven."""
    message = pb.Proof()
    message.ParseFromString(proof[0][1])
    claim = pb.Claim()
    claim.ParseFromString(message.claim)
    claim.number += 1
    message.claim = claim.SerializeToString()
    return ((PROOF_KEY, message.SerializeToString()),)


BAD = {
    "none": ((), "want splitfed-proof-bin in its metadata"),
    "garbage": (((PROOF_KEY, b"\xff\xff\xff"),), "3 bytes in splitfed-proof-bin are no proof"),
    "empty": (((PROOF_KEY, b""),), "not made with the token of this client"),
    "wrong token": (proof_of(token="guess"), "client-0: its proof was not made with the token"),
    "another client's token": (proof_of(1, token=client_token(SECRET, 0)), "client-1: its proof was not"),
    "another run's secret": (proof_of(token=client_token("another", 0)), "client-0: its proof was not"),
    "an altered claim": (altered(proof_of()), "client-0: its proof was not"),
    "no stream": (proof_of(stream=b""), "want a stream named in 1 to 64 bytes"),
    "a long stream": (proof_of(stream=bytes(65)), "want a stream named in 1 to 64 bytes"),
}


def turned_away(address: str, proof: Metadata) -> Refused | None:
    """What a stream with this proof, which says nothing, is told."""
    with raw_call(address, proof) as call:
        assert call.hear() is None
        return read_refusal_trailer(call.call.trailing_metadata())


@pytest.mark.parametrize(("proof", "message"), BAD.values(), ids=list(BAD))
def test_a_stream_without_a_good_proof_is_turned_away(server: SplitServer, proof: Metadata, message: str) -> None:
    with pytest.raises(Refused, match=f"BAD_TOKEN: .*{message}"):
        raise turned_away(server.address, proof) or AssertionError("no refusal")
    assert server.counters.refused == {"BAD_TOKEN": 1}
    assert server.counters.frames == 0


def test_a_link_with_the_token_of_another_client_is_refused(server: SplitServer) -> None:
    with pytest.raises(Refused, match="BAD_TOKEN: client-1"):
        GrpcLink([server.address], hello(client=1, token=client_token(SECRET, 0)))


def test_a_proof_opens_one_stream(server: SplitServer) -> None:
    older, proof = proof_of(), proof_of()
    with raw_call(server.address, proof, first=[hello_frame(hello(), STREAM)]) as call:
        accepted = call.hear()
        assert accepted is not None
        assert accepted.HasField("accept")
        for replayed in (proof, older):
            with pytest.raises(Refused, match=r"REPLAYED: client-0: its proof has the number .* clock"):
                raise turned_away(server.address, replayed) or AssertionError("no refusal")
        assert call.call.is_active()  # and its own stream is not disturbed


def test_what_is_proven_cannot_be_changed_in_the_hello(server: SplitServer, host: ToyHost) -> None:
    for changed in (hello_frame(hello(client=1), STREAM), hello_frame(hello(), b"another")):
        with raw_call(server.address, proof_of(), first=[changed]) as call:
            answer = call.hear()
            assert answer is not None
            assert "want the run, client and stream that were proven" in answer.refusal.message
    assert host.opened == 0


def test_no_token_travels_on_the_wire(server: SplitServer) -> None:
    class Recorder:
        seen = b""

        def received(self, connection: int, direction: Direction, data: bytes) -> None:  # noqa: ARG002
            self.seen += data

        def dropped(self, connection: int) -> None: ...

        def closed(self, connection: int) -> None: ...

    recorder = Recorder()
    with Relay(server.address, observer=recorder) as relay, GrpcLink([relay.address], hello()) as link:
        link.forward(0, torch.ones(2, WIDTH), torch.zeros(2, dtype=torch.int64))
    token = client_token(SECRET, 0)
    assert len(recorder.seen) > 200
    for word in (token.encode(), bytes.fromhex(token), SECRET.encode()):
        assert word not in recorder.seen


def test_strangers_that_are_silent_hold_no_place(server: SplitServer) -> None:
    host, port = server.address.split(":")
    with ExitStack() as strangers:
        for _ in range(2 * PLACES):
            strangers.enter_context(socket.create_connection((host, int(port))))
        for _ in range(20 * PLACES):
            strangers.enter_context(raw_call(server.address, ()))
        with ExitStack() as honest:
            for client in range(PLACES):
                honest.enter_context(GrpcLink([server.address], hello(client=client), retries=0, deadline_s=5))


@pytest.mark.parametrize(
    "words", [b"", PREFACE + SettingsFrame(0).serialize()], ids=["silent", "HTTP/2 without a stream"]
)
def test_a_connection_without_a_stream_is_closed(host: ToyHost, words: bytes) -> None:
    with SplitServer(host, secret=SECRET, waits=Waits(hello_s=0.3)) as server:
        name, port = server.address.split(":")
        with socket.create_connection((name, int(port)), timeout=5) as stranger:
            stranger.sendall(words)
            while stranger.recv(1024):
                pass


def test_a_newer_stream_of_a_client_takes_its_place_at_once(host: ToyHost) -> None:
    with SplitServer(host, secret=SECRET, max_streams=1) as server, ExitStack() as stack:
        silent = []
        for _ in range(10):
            call = stack.enter_context(raw_call(server.address, proof_of(), first=[hello_frame(hello(), STREAM)]))
            assert call.hear() is not None
            silent.append(call)
        with GrpcLink([server.address], hello(), retries=0) as link:
            assert [call.hear() for call in silent] == [None] * 10
            assert {call.call.code() for call in silent} == {grpc.StatusCode.CANCELLED}
            link.forward(0, torch.ones(2, WIDTH), torch.zeros(2, dtype=torch.int64))
    assert server.counters.broken >= 10


def test_a_place_that_is_not_free_is_asked_for_again(host: ToyHost) -> None:
    with (
        SplitServer(host, secret=SECRET, max_streams=1, waits=Waits(idle_s=0.3)) as server,
        raw_call(server.address, proof_of(), first=[hello_frame(hello(), STREAM)]) as silent,
    ):
        assert silent.hear() is not None
        with GrpcLink([server.address], hello(client=1)) as link:
            link.done(0, 0)
        assert silent.hear() is None
    assert server.counters.refused["TOO_MANY_STREAMS"] >= 1


def test_who_is_refused_leaves_no_seat_behind(host: ToyHost) -> None:
    ledger = Ledger(host)
    for phase in Phase:
        for round_ in range(2, 50):
            with pytest.raises(Refused, match="STALE_ROUND"):
                ledger.take_seat(hello(round=round_, phase=phase), b"mine")
    assert len(ledger) == 0


def test_who_is_refused_leaves_the_seat_that_is_taken(host: ToyHost) -> None:
    ledger = Ledger(host)
    seat, turn, _ = ledger.take_seat(hello(), b"mine")
    with pytest.raises(Refused, match="WRONG_SHAPE"):
        ledger.take_seat(hello(shape=(1,)), b"another")
    assert len(ledger) == 1
    seat.finish(turn, 0, 0)


_SERVER = f"""
import sys
from splitfed.wire.service import SplitServer
from tests.wire.hosts import ToyHost
with SplitServer(ToyHost(), secret={SECRET!r}) as server:
    print(server.address, flush=True)
    sys.stdin.read()
"""


def peak_bytes(process: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's memory from /proc")
def test_large_messages_of_strangers_cost_no_memory() -> None:
    huge = bytes(60 * 2**20)
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with GrpcLink([address], hello()) as link:
            link.forward(0, torch.ones(2, WIDTH), torch.zeros(2, dtype=torch.int64))
        before = peak_bytes(process.pid)
        with ExitStack() as stack:
            for call in [stack.enter_context(raw_call(address, (), first=[huge])) for _ in range(4)]:
                assert call.hear() is None
                assert call.call.code() is grpc.StatusCode.UNAUTHENTICATED
        grown = peak_bytes(process.pid) - before
        process.communicate("")
    assert grown < 20 * 2**20
