"""Builds and takes apart the frames of split.proto without copying their tensors more than once.

A frame is a small protobuf message whose ``data`` is spliced behind the serialized rest, and found again by walking
over the top-level fields. A checksum of all that ends the frame. The bytes are the ones that protobuf itself would
write.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from google.protobuf.message import DecodeError

from splitfed.errors import CorruptFrame, FrameError, Refused
from splitfed.types import Phase
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.codec import CODECS, Encoded, TensorSpec
from splitfed.wire.session import Hello

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

Frame = TypeVar("Frame", pb.ClientFrame, pb.ServerFrame)

_REFUSAL_KEY = "splitfed-refusal-bin"
_LENGTH_DELIMITED = 2
_DATA_TAG = pb.ClientFrame.DATA_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_FIXED_BYTES = {1: 8, 5: 4}  # wire type -> length
_SEAL = struct.Struct("<HI")  # the tag of `checksum` as it is written, and its value
_CHECKSUM_TAG = int.from_bytes(bytes((pb.ClientFrame.CHECKSUM_FIELD_NUMBER << 3 & 0x7F | 5 | 0x80, 1)), "little")
_MOST_FIELDS = 64  # of a frame, which has two; walking over millions would take a minute
_MOST_CHARACTERS = 2000  # of a refusal, which may quote what a client has sent
_CODEC_NAMES = {pb.Codec.Value(name.upper()): name for name in CODECS}


def pack(head: pb.ClientFrame | pb.ServerFrame, tensor: Encoded | None = None) -> bytes:
    """The bytes of a frame; ``head`` is all of it but ``data`` and ``checksum``."""
    start = head.SerializeToString()
    if tensor is None:
        return seal(start)
    prefix = start + bytes((_DATA_TAG,)) + _varint(tensor.nbytes)
    return seal(prefix, *tensor.buffers)


def seal(*parts: bytes | memoryview) -> bytes:
    """These bytes as one, with their checksum behind them: what every frame ends with."""
    return b"".join((*parts, _SEAL.pack(_CHECKSUM_TAG, _checksum(*parts))))


def sealed(raw: bytes) -> bytes:
    """These bytes with the right checksum: in place of the one that they end with, or else behind them."""
    tail = raw[-_SEAL.size :]
    has_one = len(tail) == _SEAL.size and _SEAL.unpack(tail)[0] == _CHECKSUM_TAG
    return seal(raw[: -_SEAL.size] if has_one else raw)


def unpack(kind: type[Frame], raw: bytes) -> tuple[Frame, memoryview]:
    """A frame without its ``data``, and its ``data`` as a view of ``raw`` (empty when absent).

    Raises:
        CorruptFrame: they are not the bytes that were sent.
        FrameError: these bytes are no frame.
    """
    view = _unsealed(memoryview(raw))
    head_end, data = _find_data(view)
    frame = kind()
    try:
        frame.ParseFromString(view[:head_end].tobytes())
    except DecodeError as error:
        raise FrameError(f"{len(raw)} bytes are no {kind.DESCRIPTOR.name}: {error}") from None
    if frame.WhichOneof("body") is None:
        raise FrameError(f"{len(raw)} bytes are no {kind.DESCRIPTOR.name}: it says nothing")
    return frame, data


def hello_frame(hello: Hello, stream: bytes) -> bytes:
    """The frame that opens a stream; ``stream`` names it."""
    message = pb.Hello(
        run=hello.run,
        round=hello.round,
        client=hello.client,
        phase=hello.phase.name,
        shape=hello.shape,
        codec=hello.codec.upper(),
        next_step=hello.next_step,
        stream=stream,
        keeps_labels=hello.keeps_labels,
    )
    return pack(pb.ClientFrame(hello=message))


def read_hello(message: pb.Hello) -> Hello:
    """What the opening frame says.

    Raises:
        FrameError: a phase or a codec that this protocol does not have; the codec is ``""`` then.
    """
    try:
        phase = Phase(message.phase)
    except ValueError:
        raise FrameError(f"Hello: no phase has the number {message.phase}") from None
    return Hello(
        run=message.run,
        round=message.round,
        client=message.client,
        phase=phase,
        shape=tuple(message.shape),
        codec=_CODEC_NAMES.get(message.codec, ""),
        next_step=message.next_step,
        keeps_labels=message.keeps_labels,
    )


def forward_frame(step: int, tensor: Encoded, labels: Tensor | None) -> bytes:
    """A batch of activations on its way to the server."""
    numbers = [] if labels is None else labels.tolist()
    message = pb.Forward(step=step, labels=numbers, tensor=_spec_message(tensor.spec))
    return pack(pb.ClientFrame(forward=message), tensor)


def gradient_frame(step: int, loss: float, correct: int, tensor: Encoded | None) -> bytes:
    """The answer to a batch; without a tensor in TEST and AUDIT."""
    spec = None if tensor is None else _spec_message(tensor.spec)
    message = pb.Gradient(step=step, loss=loss, correct=correct, tensor=spec)
    return pack(pb.ServerFrame(gradient=message), tensor)


def features_frame(step: int, tensor: Encoded) -> bytes:
    """The answer to a batch whose labels stay with the client."""
    return pack(pb.ServerFrame(features=pb.Features(step=step, tensor=_spec_message(tensor.spec))), tensor)


def backward_frame(step: int, tensor: Encoded) -> bytes:
    """The gradient by these features on its way to the server."""
    return pack(pb.ClientFrame(backward=pb.Backward(step=step, tensor=_spec_message(tensor.spec))), tensor)


def done_frame(steps: int, examples: int) -> bytes:
    """The client is through."""
    return pack(pb.ClientFrame(done=pb.Done(steps=steps, examples=examples)))


def accept_frame(next_step: int) -> bytes:
    """The client may begin, or go on, with this step."""
    return pack(pb.ServerFrame(accept=pb.Accept(next_step=next_step)))


def finished_frame(steps: int, examples: int) -> bytes:
    """The server has them all."""
    return pack(pb.ServerFrame(finished=pb.Finished(steps=steps, examples=examples)))


def refusal_frame(reason: str, message: str) -> bytes:
    """No, because; ``reason`` is a name of ``Refusal.Reason``."""
    return pack(pb.ServerFrame(refusal=_refusal(reason, message)))


def refusal_trailer(reason: str, message: str) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that says no to a stream of which no message is read."""
    return ((_REFUSAL_KEY, _refusal(reason, message).SerializeToString()),)


def _refusal(reason: str, message: str) -> pb.Refusal:
    return pb.Refusal(reason=reason, message=message[:_MOST_CHARACTERS])


def read_refusal_trailer(metadata: Iterable[tuple[str, str | bytes]]) -> Refused | None:
    """The refusal in a stream's trailing metadata, if there is one.

    Raises:
        FrameError: there is, and it cannot be read.
    """
    raw = dict(metadata).get(_REFUSAL_KEY)
    if not isinstance(raw, bytes):
        return None
    refusal = pb.Refusal()
    try:
        refusal.ParseFromString(raw)
    except DecodeError as error:
        raise FrameError(f"{len(raw)} bytes in {_REFUSAL_KEY} are no Refusal: {error}") from None
    return Refused(reason_name(refusal.reason), refusal.message)


def known_reason(reason: str) -> str:
    """``reason``, if this protocol has it; else a host has made it up, and it is INTERNAL."""
    return reason if reason in pb.Refusal.Reason.keys() else "INTERNAL"  # noqa: SIM118  not a dict


def reason_name(number: int) -> str:
    """The name of a refusal's reason; a newer server may have reasons that have no name here."""
    known = number in pb.Refusal.Reason.values()
    return str(pb.Refusal.Reason.Name(number)) if known else f"REASON_{number}"


def read_labels(message: pb.Forward) -> Tensor | None:
    """int64, (B,), or None where labels did not travel."""
    count = len(message.labels)
    return torch.from_numpy(np.fromiter(message.labels, np.int64, count)) if count else None


def read_spec(message: pb.Tensor) -> TensorSpec:
    """How to read ``data``; the codec is ``""`` if this protocol does not have it."""
    codec = _CODEC_NAMES.get(message.codec, "")
    return TensorSpec(tuple(message.shape), codec, message.scale, message.zero_point)


def read_tensor(spec: TensorSpec, data: memoryview) -> Tensor:
    """The float32 tensor that ``data`` holds.

    Raises:
        FrameError: the codec is unknown, or ``data`` is not what ``spec`` says.
    """
    if spec.codec not in CODECS:
        raise FrameError("a tensor in a codec that this protocol does not have")
    return CODECS[spec.codec].decode(Encoded(spec, (data,)))


def _spec_message(spec: TensorSpec) -> pb.Tensor:
    return pb.Tensor(
        shape=spec.shape,
        codec=spec.codec.upper(),
        scale=spec.scale,
        zero_point=spec.zero_point,
    )


def _checksum(*parts: bytes | memoryview) -> int:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum


def _unsealed(view: memoryview) -> memoryview:
    """All but the checksum, which is right."""
    content = view[: -_SEAL.size]
    if len(view) <= _SEAL.size or _SEAL.unpack(view[-_SEAL.size :]) != (_CHECKSUM_TAG, _checksum(content)):
        raise CorruptFrame(f"a frame of {len(view)} bytes: its checksum is wrong or missing")
    return content


def _find_data(view: memoryview) -> tuple[int, memoryview]:
    position = 0
    for _ in range(_MOST_FIELDS + 1):  # the end is seen a turn later
        if position == len(view):
            return position, view[:0]
        tag_start = position
        tag, position = _read_varint(view, position)
        length, position = _field_length(view, tag, position)
        if position + length > len(view):
            raise FrameError(f"a field of {length} bytes at {tag_start} runs beyond the frame's {len(view)}")
        if tag == _DATA_TAG:
            if position + length != len(view):
                raise FrameError(f"data ends at {position + length} of {len(view)} bytes; it must be last")
            return tag_start, view[position:]
        position += length
    raise FrameError(f"a frame of more than {_MOST_FIELDS} fields")


def _field_length(view: memoryview, tag: int, position: int) -> tuple[int, int]:
    """Length of a field's content, and where it starts."""
    wire_type = tag & 7
    if wire_type == _LENGTH_DELIMITED:
        return _read_varint(view, position)
    if wire_type == 0:
        return 0, _read_varint(view, position)[1]
    if wire_type in _FIXED_BYTES:
        return _FIXED_BYTES[wire_type], position
    raise FrameError(f"no field of a frame has wire type {wire_type}")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    """The number at ``position``, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            break
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise FrameError(f"a number is cut off or too long at byte {position}")
