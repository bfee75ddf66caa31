"""The tap sees what was sent, to the bit, however the bytes arrive; and it says when it cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from splitfed.errors import Refused
from splitfed.types import Observation, Phase
from splitfed.wire.backlog import Direction
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import accept_frame, forward_frame, hello_frame, refusal_frame
from splitfed.wire.http2 import PREFACE
from splitfed.wire.limits import METHOD
from splitfed.wire.link import GrpcLink
from splitfed.wire.observations import ObservationWriter, read_observations
from splitfed.wire.relay import Relay
from splitfed.wire.service import SplitServer
from splitfed.wire.tap import Tap
from tests.wire.hosts import SECRET, WIDTH, ToyHost, hello, make_batches, make_front
from tests.wire.training import train_front

STEPS = 4
Chunk = tuple[int, Direction, bytes]


class Tape(list[Chunk]):
    """An observer that keeps all it gets, in order, and can play it back."""

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        self.append((connection, direction, data))

    def dropped(self, connection: int) -> None:
        raise AssertionError(f"connection {connection} was dropped")

    def closed(self, connection: int) -> None:
        pass


def play(chunks: list[Chunk]) -> tuple[Tap, list[Observation], list[str]]:
    """A tap that has been given these chunks, until their connections end; what it emitted, and its notices."""
    seen: list[Observation] = []
    notices: list[str] = []
    tap = Tap(seen.append, notices.append)
    for chunk in chunks:
        tap.received(*chunk)
    for connection in sorted({connection for connection, _, _ in chunks}):
        tap.closed(connection)
    return tap, seen, notices


@pytest.mark.parametrize("codec", CODECS)
def test_observations_on_disk_equal_what_the_server_received(codec: str, tmp_path: Path) -> None:
    host = ToyHost()
    writer = ObservationWriter(tmp_path)
    with (
        SplitServer(host, secret=SECRET) as server,
        Relay(server.address, observer=Tap(writer)) as relay,
    ):
        train_front(GrpcLink([relay.address], hello(codec=codec, client=2)), STEPS)
    writer.close()
    read = list(read_observations(tmp_path))
    assert [(o.run, o.round, o.client, o.phase, o.step) for o in read] == [
        ("toy", 1, 2, Phase.TRAIN, step) for step in range(STEPS)
    ]
    for observation, received, (_, labels) in zip(read, host.sessions[2].seen, make_batches(STEPS), strict=True):
        assert torch.equal(observation.activation, received)
        assert observation.labels is not None
        assert torch.equal(observation.labels, labels)


def test_the_first_activation_is_the_fronts_own_output() -> None:
    host = ToyHost()
    seen: list[Observation] = []
    with (
        SplitServer(host, secret=SECRET) as server,
        Relay(server.address, observer=Tap(seen.append)) as relay,
    ):
        train_front(GrpcLink([relay.address], hello()), 1)
    assert torch.equal(seen[0].activation, make_front()(make_batches(1)[0][0]))


@cache
def taped() -> Tape:
    """Two clients over gRPC, each on a connection of its own, with activations larger than a DATA frame."""
    tape = Tape()
    with SplitServer(ToyHost(), secret=SECRET) as server, Relay(server.address, observer=tape) as relay:
        for client in (0, 1):
            train_front(GrpcLink([relay.address], hello(client=client)), STEPS)
    return tape


@settings(max_examples=40)
@given(data=st.data())
def test_any_chunking_of_the_bytes_gives_the_same_observations(data: st.DataObject) -> None:
    chunks = []
    for connection, direction, whole in taped():
        cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=6).map(sorted))
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            chunks.append((connection, direction, whole[start:end]))
    _, seen, _ = play(chunks)
    assert_same(seen, play(taped())[1])
    assert len(seen) == 2 * STEPS


def test_one_byte_at_a_time_gives_the_same_observations() -> None:
    tap, seen, _ = play([(c, d, data[i : i + 1]) for c, d, data in taped() for i in range(len(data))])
    assert_same(seen, play(taped())[1])
    assert (tap.unparsed, tap.ignored) == (0, 0)


def assert_same(some: list[Observation], others: list[Observation]) -> None:
    for one, other in zip(some, others, strict=True):
        assert (one.client, one.step) == (other.client, other.step)
        assert torch.equal(one.activation, other.activation)


class Conversation:
    """Writes the two directions of an HTTP/2 connection by hand, in forms that gRPC seldom uses."""

    def __init__(self) -> None:
        self._encoders = {direction: Encoder() for direction in Direction}
        self.chunks: list[Chunk] = [(1, Direction.TO_SERVER, PREFACE)]
        self.frames(Direction.TO_SERVER, SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 0}))

    def frames(self, direction: Direction, *frames: Frame) -> None:
        self.chunks.append((1, direction, b"".join(frame.serialize() for frame in frames)))

    def headers(self, direction: Direction, stream: int, path: str) -> None:
        """A header block over three frames, with padding and a priority."""
        block = self._encoders[direction].encode([(":path", path), ("x-long", "y" * 300)])
        first = HeadersFrame(stream, block[:10], flags=["PADDED", "PRIORITY"], pad_length=7, depends_on=0)
        last = ContinuationFrame(stream, block[20:], flags=["END_HEADERS"])
        self.frames(direction, first, ContinuationFrame(stream, block[10:20]), last)

    def trailers(self, stream: int) -> None:
        """The server ends a stream, with trailers over two frames."""
        block = self._encoders[Direction.TO_CLIENT].encode([("grpc-status", "0")])
        first = HeadersFrame(stream, block[:1], flags=["END_STREAM"])
        self.frames(Direction.TO_CLIENT, first, ContinuationFrame(stream, block[1:], flags=["END_HEADERS"]))

    def accepted(self, stream: int, client: int) -> None:
        """A stream is opened and let in."""
        self.headers(Direction.TO_SERVER, stream, METHOD)
        self.headers(Direction.TO_CLIENT, stream, "")
        self.frames(Direction.TO_SERVER, *self.message(stream, hello_frame(hello(client=client), b"mine")))
        self.frames(Direction.TO_CLIENT, *self.message(stream, accept_frame(0)))

    @staticmethod
    def message(stream: int, payload: bytes) -> Iterator[DataFrame]:
        """A gRPC message over DATA frames of 11 bytes, each padded."""
        whole = b"\0" + len(payload).to_bytes(4, "big") + payload
        for start in range(0, len(whole), 11):
            yield DataFrame(stream, whole[start : start + 11], flags=["PADDED"], pad_length=3)


def test_interleaved_streams_padding_and_continuations_are_followed() -> None:
    talk = Conversation()
    tensors = {1: torch.rand(2, WIDTH), 3: torch.rand(3, WIDTH)}
    for stream, client in ((1, 0), (3, 1)):
        talk.headers(Direction.TO_SERVER, stream, METHOD)
        talk.headers(Direction.TO_CLIENT, stream, "")
        for question in talk.message(stream, hello_frame(hello(client=client), b"mine")):
            talk.frames(Direction.TO_SERVER, question)
        talk.frames(Direction.TO_CLIENT, *talk.message(stream, accept_frame(5)))
    parts = [
        list(talk.message(stream, forward_frame(5, CODECS["float32"].encode(tensor), None)))
        for stream, tensor in tensors.items()
    ]
    for one, other in zip(parts[0], parts[1], strict=False):
        talk.frames(Direction.TO_SERVER, one, PingFrame(0), other)
    talk.frames(Direction.TO_SERVER, *parts[1][len(parts[0]) :])

    tap, seen, notices = play(talk.chunks)
    assert [(o.client, o.step) for o in seen] == [(0, 5), (1, 5)]
    assert all(torch.equal(o.activation, t) for o, t in zip(seen, tensors.values(), strict=True))
    assert (tap.unparsed, tap.ignored, notices) == (0, 0, [])


@pytest.mark.parametrize(
    ("path", "answer", "tensor", "observed"),
    [
        (METHOD, accept_frame(0), torch.ones(2, WIDTH), 1),
        (METHOD, refusal_frame("BAD_TOKEN", "no"), torch.ones(2, WIDTH), 0),
        (METHOD, accept_frame(0), torch.full((2, WIDTH), float("nan")), 0),
        ("/other.Service/Call", accept_frame(0), torch.ones(2, WIDTH), 0),
    ],
    ids=["accepted", "refused", "NaN", "another service"],
)
def test_only_what_the_server_accepts_is_observed(path: str, answer: bytes, tensor: Tensor, observed: int) -> None:
    talk = Conversation()
    talk.headers(Direction.TO_SERVER, 1, path)
    talk.headers(Direction.TO_CLIENT, 1, "")
    talk.frames(Direction.TO_SERVER, *talk.message(1, hello_frame(hello(), b"mine")))
    talk.frames(Direction.TO_CLIENT, *talk.message(1, answer))
    raw = forward_frame(0, CODECS["float32"].encode(tensor), None)
    talk.frames(Direction.TO_SERVER, *talk.message(1, raw))
    tap, seen, _ = play(talk.chunks)
    assert len(seen) == tap.activations == observed


FORWARD = forward_frame(0, CODECS["float32"].encode(torch.ones(2, WIDTH)), None)


@pytest.mark.parametrize("prefix", [b"\1\0\0\0\4", b"\0\xff\0\0\0"], ids=["compressed", "too large"])
def test_a_message_that_no_server_reads_costs_the_tap_its_stream_and_no_other(prefix: bytes) -> None:
    talk = Conversation()
    for stream, client in ((1, 0), (3, 1)):
        talk.accepted(stream, client)
    talk.frames(Direction.TO_SERVER, DataFrame(1, prefix + b"abcd"), *talk.message(1, FORWARD))
    talk.frames(Direction.TO_SERVER, *talk.message(3, FORWARD))
    tap, seen, notices = play(talk.chunks)
    assert [o.client for o in seen] == [1]
    assert (tap.unparsed, tap.ignored, notices) == (0, 1, [])


@pytest.mark.parametrize("ending", ["trailers", "reset by the client", "reset by the server"])
def test_the_end_of_a_stream_ends_the_wait_for_its_answer(ending: str) -> None:
    talk = Conversation()
    talk.accepted(1, 0)
    talk.frames(Direction.TO_SERVER, *talk.message(1, FORWARD))
    if ending == "trailers":
        talk.trailers(1)
    else:
        talk.frames(Direction.TO_SERVER if "client" in ending else Direction.TO_CLIENT, RstStreamFrame(1))
    seen: list[Observation] = []
    tap = Tap(seen.append)
    for chunk in talk.chunks[:-1]:
        tap.received(*chunk)
    assert seen == []
    tap.received(*talk.chunks[-1])
    assert [o.step for o in seen] == [0]


def test_when_too_much_waits_for_answers_the_rest_is_counted_and_the_user_told_once() -> None:
    talk = Conversation()
    talk.accepted(1, 0)
    for _ in range(3):
        talk.frames(Direction.TO_SERVER, *talk.message(1, FORWARD))
    notices: list[str] = []
    tap = Tap(lambda _: None, notices.append, waiting_bytes=10)
    for chunk in talk.chunks:
        tap.received(*chunk)
    assert (tap.activations, tap.missed, tap.ignored) == (0, 3, 0)
    assert notices == ["tap: more than 10 bytes wait for answers of the server; it misses what comes on top"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE + bytes([0, 0, 3, 3, 0, 0, 0, 0, 1]) + b"abc",
        PREFACE + bytes([0, 0, 1, 1, 4, 0, 0, 0, 1]) + b"\xff",
        PREFACE + bytes([0, 0, 1, 1, 0, 0, 0, 0, 1]) + b"\x82" + bytes(9),
    ],
    ids=["another protocol", "a reset cut short", "a header that is none", "headers that are cut off"],
)
def test_what_is_not_our_http2_is_counted_and_left_alone(data: bytes) -> None:
    tap, seen, notices = play([(1, Direction.TO_SERVER, data), (1, Direction.TO_CLIENT, b"whatever")])
    assert (tap.unparsed, tap.ciphertext, seen) == (1, 0, [])
    assert "connection 1 cannot be read" in notices[0]
    assert tap.summary() == "unreadable: 0 activations from 1 connections"


def test_a_connection_that_began_before_it_was_watched_is_unreadable() -> None:
    later = [chunk for chunk in taped() if chunk[0] == 1 and chunk[1] is Direction.TO_SERVER][1:]
    tap, seen, notices = play(later)
    assert (tap.unparsed, seen, len(notices)) == (1, [], 1)


def test_dropped_bytes_make_a_connection_unreadable_and_the_user_is_told() -> None:
    notices: list[str] = []
    tap = Tap(lambda _: None, notices.append)
    tap.received(1, Direction.TO_SERVER, PREFACE)
    tap.dropped(1)
    tap.received(1, Direction.TO_SERVER, b"\xff" * 99)
    assert tap.unparsed == 1
    assert notices == ["tap: connection 1 cannot be read: the tap is too slow, and bytes were dropped from its copy"]


def test_a_refused_client_is_not_observed() -> None:
    seen: list[Observation] = []
    with (
        SplitServer(ToyHost(), secret=SECRET) as server,
        Relay(server.address, observer=Tap(seen.append)) as relay,
        pytest.raises(Refused, match="BAD_TOKEN"),
    ):
        GrpcLink([relay.address], hello(token="guess"))
    assert seen == []
