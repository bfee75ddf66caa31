"""Spliced frames are protobuf's own bytes, and bytes that are no frame are told apart."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splitfed.errors import CorruptFrame, FrameError
from splitfed.types import Phase
from splitfed.wire import limits
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import (
    forward_frame,
    gradient_frame,
    hello_frame,
    read_hello,
    read_labels,
    read_spec,
    read_tensor,
    reason_name,
    refusal_frame,
    seal,
    sealed,
    unpack,
)
from splitfed.wire.session import Hello

SEAL_BYTES = len(seal())


@pytest.mark.parametrize("name", CODECS)
@given(batch=st.integers(1, 40), step=st.integers(0, 2**32 - 1), with_labels=st.booleans())
def test_a_forward_is_what_protobuf_would_write_and_reads_back(
    name: str, batch: int, step: int, with_labels: bool
) -> None:
    encoded = CODECS[name].encode(torch.rand(batch, 9))
    labels = torch.arange(batch) if with_labels else None
    raw = forward_frame(step, encoded, labels)

    plain = pb.ClientFrame()
    plain.ParseFromString(raw)
    assert plain.SerializeToString() == raw
    assert plain.data == bytes(encoded.data)

    frame, data = unpack(pb.ClientFrame, raw)
    assert frame.forward.step == step
    assert data == encoded.data
    assert read_spec(frame.forward.tensor) == encoded.spec
    received = read_labels(frame.forward)
    assert (received is None) == (labels is None)
    assert labels is None or (received is not None and torch.equal(received, labels))


@pytest.mark.parametrize("name", ["float32", "sparse"])
def test_the_largest_batch_fits_into_a_frame_and_one_image_more_does_not(name: str) -> None:
    width = 2**20
    largest = limits.largest_batch(CODECS[name].most_bytes(width))
    assert largest > 1
    labels = torch.full((largest,), 2**21 - 1)
    sizes = [
        len(forward_frame(2**32 - 1, CODECS[name].encode(torch.ones(batch, width)), labels[:batch]))
        for batch in (largest, largest + 1)
    ]
    assert sizes[0] <= limits.MAX_MESSAGE_BYTES < sizes[1]


def test_a_gradient_reads_back() -> None:
    tensor = torch.randn(3, 4)
    raw = gradient_frame(7, 0.123456789012345, 2, CODECS["float32"].encode(tensor))
    frame, data = unpack(pb.ServerFrame, raw)
    assert (frame.gradient.step, frame.gradient.loss, frame.gradient.correct) == (7, 0.123456789012345, 2)
    assert torch.equal(read_tensor(read_spec(frame.gradient.tensor), data), tensor)


@given(
    hello=st.builds(
        Hello,
        run=st.text(min_size=1, max_size=20),
        round=st.integers(0, 2**32 - 1),
        client=st.integers(0, 2**32 - 1),
        phase=st.sampled_from(Phase),
        shape=st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple),
        codec=st.sampled_from(sorted(CODECS)),
        token=st.text(max_size=20),
        next_step=st.integers(0, 2**32 - 1),
    )
)
def test_a_hello_reads_back(hello: Hello) -> None:
    frame, _ = unpack(pb.ClientFrame, hello_frame(hello, b"name"))
    assert read_hello(frame.hello) == hello
    assert frame.hello.stream == b"name"


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_frame_error(raw: bytes) -> None:
    try:
        frame, data = unpack(pb.ClientFrame, seal(raw))
    except FrameError:
        return
    plain = pb.ClientFrame()
    plain.ParseFromString(raw)
    assert frame.WhichOneof("body") == plain.WhichOneof("body")
    assert bytes(data) == plain.data


@given(cut=st.integers(1, 60))
def test_a_cut_frame_is_no_frame(cut: int) -> None:
    raw = forward_frame(0, CODECS["float32"].encode(torch.rand(2, 8)), None)
    with pytest.raises(CorruptFrame):
        unpack(pb.ClientFrame, raw[:-cut])
    with pytest.raises(FrameError):
        unpack(pb.ClientFrame, seal(raw[: -SEAL_BYTES - cut]))


@given(place=st.integers(0, 107), bit=st.integers(0, 7), answer=st.booleans())
def test_a_flipped_bit_makes_no_other_frame(place: int, bit: int, answer: bool) -> None:
    tensor = CODECS["float32"].encode(torch.ones(2, 8))
    raw = bytearray(gradient_frame(0, 0.5, 1, tensor) if answer else forward_frame(0, tensor, None))
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(CorruptFrame, match="its checksum is wrong or missing"):
        unpack(pb.ServerFrame, bytes(raw)) if answer else unpack(pb.ClientFrame, bytes(raw))


def test_data_must_be_last() -> None:
    raw = forward_frame(0, CODECS["float32"].encode(torch.rand(2, 8)), None)
    with pytest.raises(FrameError, match="must be last"):
        unpack(pb.ClientFrame, seal(raw[:-SEAL_BYTES], pb.ClientFrame(done=pb.Done(steps=1)).SerializeToString()))


def test_a_refusal_of_a_newer_server_keeps_its_number() -> None:
    raw = refusal_frame("STALE_ROUND", "want 5, got 3")
    frame, _ = unpack(pb.ServerFrame, raw)
    assert reason_name(frame.refusal.reason) == "STALE_ROUND"
    assert reason_name(999) == "REASON_999"


@given(raw=st.binary(max_size=60))
def test_any_bytes_can_be_given_the_right_checksum_once(raw: bytes) -> None:
    frame = seal(raw)
    assert sealed(raw[:-SEAL_BYTES] + frame[-SEAL_BYTES:]) == seal(raw[:-SEAL_BYTES])
    assert sealed(frame) == frame
    assert sealed(frame[:-1] + b"?") == frame
    assert sealed(frame + b"\0") == seal(frame + b"\0")
