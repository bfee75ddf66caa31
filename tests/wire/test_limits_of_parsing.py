"""What costs a sender little must not cost the server or the tap much; found by ``splitfed bench fuzz``."""

from __future__ import annotations

import pytest
import torch

from splitfed.errors import FrameError, Refused
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.checks import StreamRules
from splitfed.wire.codec import CODECS
from splitfed.wire.door import Door
from splitfed.wire.frames import forward_frame, read_refusal_trailer, refusal_frame, refusal_trailer, sealed, unpack
from splitfed.wire.http2 import PREFACE, Event, Message, MessageReader, Unreadable
from splitfed.wire.proof import Claim, Metadata, client_token, prove
from tests.wire.hosts import CLASSES, RUN, SECRET, WIDTH, hello

RULES = StreamRules(CLASSES)
END_HEADERS = 4


def frame(kind: int, stream: int, body: bytes = b"", flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def headers(stream: int, block: bytes) -> bytes:
    return frame(1, stream, block, END_HEADERS)


def named(name: bytes, value: bytes, mark: int = 0) -> bytes:
    """A header as HPACK writes it, of less than 127 bytes."""
    return bytes((mark, len(name))) + name + bytes((len(value),)) + value


def message(stream: int, payload: bytes) -> bytes:
    return frame(0, stream, b"\0" + len(payload).to_bytes(4, "big") + payload)


def read(data: bytes) -> list[Event]:
    """What a tap reads of a client that says this."""
    return list(MessageReader(preface=True, max_message_bytes=1000).feed(PREFACE + data))


# frames


def test_a_frame_of_more_fields_than_any_has_is_not_walked_through() -> None:
    """64 MiB of empty fields would take a minute."""
    good = forward_frame(0, CODECS["float32"].encode(torch.ones(2, WIDTH)), None)
    unknown = b"\x80\x01\x00"
    assert unpack(pb.ClientFrame, sealed(62 * unknown + good))[0].forward.step == 0
    for tail in (good, b"", b"\xff" * 2**20):
        with pytest.raises(FrameError, match="more than 64 fields"):
            unpack(pb.ClientFrame, sealed(65 * unknown + tail))


ONES = CODECS["float32"].encode(torch.ones(2, WIDTH))


@pytest.mark.parametrize(
    ("many", "reader", "reason"),
    [
        (pb.Forward(tensor=pb.Tensor(shape=[1] * 10_000)), "read_spec", "WRONG_SHAPE: .* got 10000 dimensions"),
        (
            pb.Forward(tensor=pb.Tensor(shape=[2, WIDTH], codec="FLOAT32"), labels=[0] * 10_000),
            "read_labels",
            "BAD_LABELS: .* want 2 labels, got 10000",
        ),
    ],
    ids=["shape", "labels"],
)
def test_shapes_and_labels_are_counted_before_they_are_copied(
    monkeypatch: pytest.MonkeyPatch, many: pb.Forward, reader: str, reason: str
) -> None:
    """Each number takes a byte in a frame, and 8 in a tuple or an array."""
    monkeypatch.setattr(f"splitfed.wire.checks.{reader}", lambda _: pytest.fail("it was copied"))
    with pytest.raises(Refused, match=reason):
        RULES.batch(hello(), many, ONES.data)


def test_a_refusal_quotes_only_so_much() -> None:
    long = "x" * 100_000
    refusal = unpack(pb.ServerFrame, refusal_frame("GARBLED", long))[0].refusal
    turned_away = read_refusal_trailer(refusal_trailer("BAD_TOKEN", long))
    assert turned_away is not None
    assert (refusal.message, turned_away.message) == (long[:2000],) * 2


# proofs


def test_a_proof_with_the_number_0_is_refused_like_any_old_one() -> None:
    class Visitor:
        def invocation_metadata(self) -> Metadata:
            return prove(Claim(RUN, 0, b"mine", 0), client_token(SECRET, 0))

        def auth_context(self) -> dict[str, list[bytes]]:
            return {}

        def cancel(self) -> None:
            pytest.fail("it had no place")

    with (
        pytest.raises(Refused, match=r"REPLAYED: .* the number 0, and I have seen 0"),
        Door(SECRET, 1).admitted(Visitor()),
    ):
        pytest.fail("it was let in")


# HTTP/2, as the tap reads it


def test_a_path_does_not_grow_with_each_header() -> None:
    """It doubled with each, where a byte of it was not ASCII: thirty headers made a gigabyte of it."""
    again = headers(1, named(b"x", b"y")) * 30
    (event,) = read(headers(1, named(b":path", b"/\xe9")) + again + message(1, b"abc"))
    assert event == Message(1, "/é", b"abc")


def test_a_header_may_be_named_again_and_again() -> None:
    """gRPC refuses a list that is too long with its stream, and goes on; so does the tap, which keeps no list."""
    bomb = named(b"bomb", b"x" * 100, 0x40) + b"\xbe" * 10_000
    assert read(headers(1, bomb) + headers(3, named(b":path", b"/p")) + message(3, b"abc")) == [
        Message(3, "/p", b"abc")
    ]


def test_a_header_block_is_bounded() -> None:
    """What it costs to read grows with the square of its size; a stream of gRPC has a quarter of this."""
    more = frame(9, 1, named(b"a", b"b" * 100) * 100)
    with pytest.raises(FrameError, match="headers of more than 65536 bytes"):
        read(frame(1, 1) + more * 7)


@pytest.mark.parametrize("number", [3, 1, 4, 0], ids=["ended", "older", "even", "zero"])
def test_a_stream_that_no_server_lets_a_client_open_is_not_followed(number: int) -> None:
    """Nobody would ever end it, and what waits of its messages would stay."""
    reader = MessageReader(preface=True, max_message_bytes=1000)
    list(reader.feed(PREFACE + headers(3, named(b":path", b"/p"))))
    reader.forget(3)
    assert list(reader.feed(headers(number, named(b":path", b"/p")) + message(number, b"abc"))) == []
    assert list(reader.feed(headers(5, named(b":path", b"/p")) + message(5, b"abc"))) == [Message(5, "/p", b"abc")]


@pytest.mark.parametrize(
    "odd",
    [
        frame(2, 0, bytes(3)),
        frame(5, 1, bytes(9), END_HEADERS),
        frame(6, 1, bytes(7)),
        frame(7, 1, b"bye"),
        frame(8, 0, bytes(4)),
        frame(10, 1, b"\xff"),
        frame(0, 0, b"abc"),
        frame(3, 0, bytes(4)),
        headers(0, named(b":path", b"/p")),
    ],
    ids=[
        *("PRIORITY of nothing", "PUSH_PROMISE", "a short PING of a stream", "GOAWAY of a stream"),
        *("WINDOW_UPDATE by 0", "ALTSVC", "DATA on stream 0", "RST_STREAM on stream 0", "HEADERS on stream 0"),
    ],
)
def test_a_frame_that_grpc_passes_over_does_not_blind_the_tap(odd: bytes) -> None:
    events = read(odd + headers(1, named(b":path", b"/p")) + odd + message(1, b"abc"))
    assert [event for event in events if event.stream == 1] == [Message(1, "/p", b"abc")]


def test_padding_that_does_not_fit_costs_its_stream_and_no_other() -> None:
    good = headers(1, named(b":path", b"/p")) + headers(3, named(b":path", b"/p"))
    events = read(good + frame(0, 1, b"\x09abc", 8) + message(3, b"abc"))
    assert events == [
        Unreadable(1, "/p", "padding of a frame of 4 bytes does not fit into it"),
        Message(3, "/p", b"abc"),
    ]
