"""Each bad input is refused with its reason and counted, and no other stream is disturbed."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest
import torch
from torch import Tensor

from splitfed.errors import FrameError, LinkLost, Refused, UserError
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import done_frame, forward_frame, hello_frame, pack, reason_name, seal
from splitfed.wire.link import DirectLink, GrpcLink
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello
from splitfed.wire.stream import Waits
from tests.wire.hosts import CLASSES, SECRET, WIDTH, ToyHost, ToySession, hello
from tests.wire.raw import STREAM, converse, proof_of, raw_call

MAX_BYTES = 100_000


@pytest.fixture
def host() -> ToyHost:
    return ToyHost()


@pytest.fixture
def server(host: ToyHost) -> Iterator[SplitServer]:
    with SplitServer(host, secret=SECRET, max_message_bytes=MAX_BYTES, max_streams=3) as server:
        yield server


def opening(**changes: object) -> bytes:
    return hello_frame(hello(**changes), STREAM)


def forward(step: int = 0, activation: Tensor | None = None, labels: Tensor | None = None) -> bytes:
    if activation is None:
        activation = torch.rand(2, WIDTH)
    if labels is None:
        labels = torch.zeros(len(activation), dtype=torch.int64)
    return forward_frame(step, CODECS["float32"].encode(activation), labels)


def altered(raw: bytes, change: Callable[[pb.ClientFrame], object]) -> bytes:
    frame = pb.ClientFrame()
    frame.ParseFromString(raw)
    frame.ClearField("checksum")
    change(frame)
    return pack(frame)


def flipped(raw: bytes) -> bytes:
    """One bit of the activation is another one."""
    at = len(raw) - 20
    return raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]


BAD = {
    "nothing": ([], "OUT_OF_ORDER", "want Hello, got nothing"),
    "no frame": ([seal(b"\xff\xff\xff")], "GARBLED", "cut off"),
    "a frame that says nothing": ([seal(b"\x80\x01\x00")], "GARBLED", "says nothing"),
    "an empty frame": ([b""], "CORRUPTED", "a frame of 0 bytes: its checksum is wrong or missing"),
    "no checksum": ([forward()[:-6]], "CORRUPTED", "its checksum is wrong or missing"),
    "a flipped bit": ([opening(), flipped(forward())], "CORRUPTED", "its checksum is wrong or missing"),
    "no hello": ([forward()], "OUT_OF_ORDER", "want Hello first, got forward"),
    "large hello": (
        [opening(shape=(WIDTH,) * 70_000)],
        "OVERSIZED",
        "the first frame: want at most 65536 bytes, got 70",
    ),
    "another stream": ([hello_frame(hello(), b"another")], "BAD_TOKEN", "want the run, client and stream that were"),
    "no phase": ([altered(opening(), lambda f: f.hello.ClearField("phase"))], "GARBLED", "no phase"),
    "no stream": ([altered(opening(), lambda f: f.hello.ClearField("stream"))], "GARBLED", "want a stream"),
    "no run": ([opening(run="")], "GARBLED", "a run of 1 to 128"),
    "unknown codec": (
        [altered(opening(), lambda f: f.hello.ClearField("codec"))],
        "UNKNOWN_CODEC",
        "want one of float32",
    ),
    "unknown run": ([opening(run="other")], "UNKNOWN_RUN", "want toy, got other"),
    "old round": ([opening(round=0)], "STALE_ROUND", "want 1, got 0"),
    "unknown client": ([opening(client=9)], "UNKNOWN_CLIENT", "got 9"),
    "announced shape": ([opening(shape=(3, 3))], "WRONG_SHAPE", r"want \(7,\), got \(3, 3\)"),
    "nothing to go on from": ([opening(next_step=3)], "OUT_OF_ORDER", "no stream to go on with at step 3"),
    "second hello": ([opening(), opening()], "OUT_OF_ORDER", "second Hello"),
    "sent shape": (
        [opening(), forward(activation=torch.rand(2, WIDTH + 1))],
        "WRONG_SHAPE",
        r"client-0 .* step 0: want \(B ≥ 1, 7\), got \(2, 8\)",
    ),
    "no batch": ([opening(), forward(activation=torch.rand(0, WIDTH))], "WRONG_SHAPE", "got"),
    "wrong codec": ([opening(codec="int8"), forward()], "WRONG_CODEC", "want int8 as announced, got float32"),
    "short data": (
        [opening(), altered(forward(), lambda f: setattr(f, "data", f.data[:-1]))],
        "GARBLED",
        "want 56 bytes of data, got 55",
    ),
    "large frame": (
        [opening(), forward(activation=torch.rand(3600, WIDTH))],
        "OVERSIZED",
        "want at most 100000 bytes, got 10",
    ),
    "not a number": (
        [opening(), forward(activation=torch.full((2, WIDTH), float("nan")))],
        "NOT_FINITE",
        "NaN or infinite",
    ),
    "infinity": (
        [opening(), forward(activation=torch.full((2, WIDTH), float("inf")))],
        "NOT_FINITE",
        "NaN or infinite",
    ),
    "later step": ([opening(), forward(2)], "OUT_OF_ORDER", "want step 0, got 2"),
    "label too high": (
        [opening(), forward(labels=torch.tensor([0, CLASSES]))],
        "BAD_LABELS",
        "want labels below 3, got 3",
    ),
    "label too many": ([opening(), forward(labels=torch.tensor([0, 1, 2]))], "BAD_LABELS", "want 2 labels"),
    "done too early": ([opening(), forward(), done_frame(2, 4)], "OUT_OF_ORDER", "want 1 steps, got 2"),
}


@pytest.mark.parametrize(("frames", "reason", "message"), BAD.values(), ids=list(BAD))
def test_bad_input_is_refused_with_its_reason(
    host: ToyHost, server: SplitServer, frames: list[bytes], reason: str, message: str
) -> None:
    with GrpcLink([server.address], hello(client=1)) as other:
        labels = torch.tensor([0, 1])
        before = other.forward(0, torch.ones(2, WIDTH), labels)
        replies = converse(server.address, frames)
        after = other.forward(1, torch.ones(2, WIDTH), labels)
    assert after.loss < before.loss
    refusal = replies[-1].refusal
    assert reason_name(refusal.reason) == reason
    with pytest.raises(Refused, match=message):
        raise Refused(reason, refusal.message)
    assert server.counters.refused == {reason: 1}
    assert 0 not in host.sessions or host.sessions[0].next_step <= 1


def test_a_sparse_tensor_must_not_unfold_beyond_the_limit(server: SplitServer) -> None:
    zeros = CODECS["sparse"].encode(torch.zeros(3600, WIDTH))
    frames = [opening(codec="sparse"), forward_frame(0, zeros, torch.zeros(3600, dtype=torch.int64))]
    assert reason_name(converse(server.address, frames)[-1].refusal.reason) == "OVERSIZED"


def test_a_frame_beyond_all_limits_is_cut_off(server: SplitServer) -> None:
    huge = GrpcLink([server.address], hello(), max_message_bytes=2**26)
    with huge, pytest.raises(Refused, match="OVERSIZED"):
        huge.forward(0, torch.rand(2**17, WIDTH), None)


def test_what_may_not_be_sent_is_not_sent(server: SplitServer) -> None:
    with GrpcLink([server.address], hello(), max_message_bytes=MAX_BYTES) as link:
        before = link.sent_bytes
        with pytest.raises(FrameError, match=r"client-0 TRAIN .* step 0: .* NaN or an infinity"):
            link.forward(0, torch.full((2, WIDTH), float("nan")), torch.zeros(2, dtype=torch.int64))
        with pytest.raises(FrameError, match=r"want an activation .* got \(2, 3\)"):
            link.forward(0, torch.rand(2, 3), None)
        with pytest.raises(FrameError, match="float64"):
            link.forward(0, torch.rand(2, WIDTH, dtype=torch.float64), None)
        with pytest.raises(FrameError, match="a label is -1"):
            link.forward(0, torch.rand(2, WIDTH), torch.tensor([0, -1]))
        with pytest.raises(FrameError, match="at most 100000 are allowed"):
            link.forward(0, torch.rand(3600, WIDTH), None)
        assert link.sent_bytes == before


def test_a_direct_link_refuses_the_same_labels(host: ToyHost) -> None:
    with DirectLink(host, hello()) as link, pytest.raises(Refused, match="BAD_LABELS"):
        link.forward(0, torch.rand(1, WIDTH), torch.tensor([CLASSES]))


def test_streams_beyond_the_limit_are_refused_at_once(server: SplitServer) -> None:
    with ExitStack() as stack:
        for client in range(3):
            stack.enter_context(GrpcLink([server.address], hello(client=client)))
        with pytest.raises(Refused, match="TOO_MANY_STREAMS: all 3 streams"):
            GrpcLink([server.address], hello(client=9), retries=0)


class DivergingHost(ToyHost):
    """A host whose weights are infinite."""

    def open(self, hello: Hello) -> ToySession:
        session = super().open(hello)
        session.back.weight.data.fill_(float("inf"))
        return session


@pytest.mark.parametrize("wire", [False, True])
def test_training_that_diverged_is_refused(wire: bool) -> None:
    host = DivergingHost()
    with SplitServer(host, secret=SECRET) as server:
        link = GrpcLink([server.address], hello()) if wire else DirectLink(host, hello())
        with link, pytest.raises(Refused, match=r"NOT_FINITE: .* diverged"):
            link.forward(0, torch.ones(2, WIDTH), torch.zeros(2, dtype=torch.int64))


class FailingHost(ToyHost):
    """A host with a bug."""

    def open(self, hello: Hello) -> ToySession:
        session = super().open(hello)
        if hello.client == 0:
            del session.back
        return session


def test_a_bug_of_the_host_is_logged_and_told(caplog: pytest.LogCaptureFixture) -> None:
    host = FailingHost()
    labels = torch.zeros(2, dtype=torch.int64)
    with SplitServer(host, secret=SECRET) as server, GrpcLink([server.address], hello(client=1)) as other:
        with (
            GrpcLink([server.address], hello()) as link,
            pytest.raises(Refused, match=r"INTERNAL: .*AttributeError"),
        ):
            link.forward(0, torch.rand(2, WIDTH), labels)
        other.forward(0, torch.rand(2, WIDTH), labels)
    assert "no attribute 'back'" in caplog.text


def test_a_busy_port_is_the_users_mistake(server: SplitServer) -> None:
    port = server.address.split(":")[1]
    with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 .* port 0 takes any free one"):
        SplitServer(ToyHost(), secret=SECRET, address=server.address)


@pytest.mark.parametrize("address", ["nowhere", ":80", "host:http", "host:70000"])
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(UserError, match="want host:port"):
        SplitServer(ToyHost(), secret=SECRET, address=address)


def test_no_server_at_all_is_a_lost_link() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(LinkLost, match=f"no answer after 1 retries; last: {address}: UNAVAILABLE"):
        GrpcLink([address], hello(), retries=1)


def test_a_peer_that_never_answers_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(LinkLost, match=r"gave no answer within 0\.2 s"):
            GrpcLink([address], hello(), deadline_s=0.2, retries=1)
        assert time.monotonic() - began < 5


def test_a_client_that_never_introduces_itself_is_cut_off(host: ToyHost) -> None:
    with (
        SplitServer(host, secret=SECRET, waits=Waits(hello_s=0.2)) as server,
        raw_call(server.address, proof_of()) as silent,
    ):
        assert silent.hear() is None
        assert silent.call.code() is grpc.StatusCode.CANCELLED
    assert server.counters.broken == 1


def test_a_client_that_never_reads_is_cut_off_and_its_place_is_free_again(host: ToyHost) -> None:
    """Its answers fill what gRPC and the network hold; then sending takes for ever."""
    activation = CODECS["float32"].encode(torch.ones(2**16, WIDTH))
    labels = torch.zeros(2**16, dtype=torch.int64)
    many = [opening(), *(forward_frame(step, activation, labels) for step in range(40))]
    with (
        SplitServer(host, secret=SECRET, max_streams=1, waits=Waits(send_s=0.3)) as server,
        raw_call(server.address, proof_of(), first=many) as deaf,
    ):
        deaf.call.initial_metadata()  # comes with Accept
        with GrpcLink([server.address], hello(client=1), retries=12):
            assert server.counters.broken == 1
    assert host.sessions[0].next_step < 40


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_stream_is_turned_away_unread(
    server: SplitServer, host: ToyHost, compression: grpc.Compression
) -> None:
    """A few kilobytes must not unfold to gigabytes; the tap does not unfold them either."""
    with raw_call(server.address, proof_of(), first=[opening(), forward()], compression=compression) as call:
        assert call.hear() is None
        assert call.call.code() is grpc.StatusCode.UNIMPLEMENTED
    assert server.counters.frames == 0
    assert host.opened == 0


def test_a_server_stops_at_once_while_streams_are_open(host: ToyHost) -> None:
    with SplitServer(host, secret=SECRET) as server:
        link = GrpcLink([server.address], hello(), retries=0)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    with link, pytest.raises(LinkLost):
        link.forward(0, torch.rand(2, WIDTH), torch.zeros(2, dtype=torch.int64))
