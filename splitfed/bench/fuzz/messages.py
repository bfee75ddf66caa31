"""Messages gone wrong, drawn from their descriptors: what is added to the protocol is drawn too, without being listed.

A mutation changes a message either as what it says (a field of any message in it gets an odd value, is left out,
repeated, or takes another one's place) or as bytes (unknown fields, wrong wire types, groups, cuts, flips).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

import splitfed.wire.frames  # noqa: F401  makes the protocol known to the pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from google.protobuf.message import Message

_DEPTH = 3
_MOST_REPEATED = 300
_INTEGERS = (0, 1, 2, 3, 7, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_REALS = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e-45, 1e300, -1e300, math.inf, -math.inf, math.nan)
_TEXTS = ("", "\0", "é\u202e", "x" * 128, "x" * 129, "x" * 5000)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}


def message_class(name: str) -> type[Message]:
    """The class of a message of the protocol, `ClientFrame` say."""
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"splitfed.v1.{name}"))


def drawn(kind: type[Message], rng: Random, depth: int = _DEPTH) -> Message:
    """A message of this kind with odd values in some of its fields, in messages of its own down to ``depth``."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if rng.random() < 0.6:
            _set(message, field, rng, depth)
    return message


def mutated(raw: bytes, kind: type[Message], rng: Random) -> bytes:
    """A serialized message of this kind, altered in one place."""
    return rng.choice((_altered_in_meaning, _altered_in_meaning, _altered_in_bytes))(raw, kind, rng)


def _altered_in_meaning(raw: bytes, kind: type[Message], rng: Random) -> bytes:
    message = kind()
    try:
        message.ParseFromString(raw)
    except DecodeError:  # what an earlier mutation has left
        return _altered_in_bytes(raw, kind, rng)
    where, field = rng.choice(list(_places(message)))
    if where.HasField(field.name) if field.has_presence else getattr(where, field.name):
        rng.choice((_set, _set, _clear))(where, field, rng, _DEPTH)
    else:
        _set(where, field, rng, _DEPTH)
    return message.SerializeToString()


def _places(message: Message) -> Iterator[tuple[Message, Any]]:
    """Every field of every message that there is, set or not."""
    for field in message.DESCRIPTOR.fields:
        yield message, field
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            value: Any = getattr(message, field.name)
            if field.is_repeated:
                for each in value:
                    yield from _places(each)
            elif message.HasField(field.name):
                yield from _places(value)


def _clear(message: Message, field: Any, _rng: Random, _depth: int) -> None:
    message.ClearField(field.name)


def _set(message: Message, field: Any, rng: Random, depth: int) -> None:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        if depth == 0:
            return
        for _ in range(rng.randint(0, 2) if field.is_repeated else 1):
            new = drawn(GetMessageClass(field.message_type), rng, depth - 1)
            if field.is_repeated:
                getattr(message, field.name).append(new)
            else:
                getattr(message, field.name).CopyFrom(new)
    elif field.is_repeated:
        values = getattr(message, field.name)
        if rng.random() < 0.3:
            del values[:]
        count = rng.choice((1, 1, 2, 5, _MOST_REPEATED))
        values.extend([_odd(field, rng)] * count)
    else:
        setattr(message, field.name, _odd(field, rng))


def _odd(field: Any, rng: Random) -> Any:
    if field.cpp_type in _RANGES:
        low, high = _RANGES[field.cpp_type]
        value = rng.choice((*_INTEGERS, rng.getrandbits(rng.randint(1, 64))))
        return max(low, min(high, rng.choice((value, -value))))
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice(_REALS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    text = rng.choice(_TEXTS)
    if field.type == FieldDescriptor.TYPE_STRING:
        return text
    return rng.choice((text.encode(), rng.randbytes(rng.randint(0, 80))))


def _altered_in_bytes(raw: bytes, kind: type[Message], rng: Random) -> bytes:
    return rng.choice(BYTE_MUTATIONS)(raw, kind, rng)


def _flipped(raw: bytes, _: type[Message], rng: Random) -> bytes:
    altered = bytearray(raw or b"\0")
    for _flip in range(rng.choice((1, 1, 2, 8))):
        altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
    return bytes(altered)


def _cut(raw: bytes, _: type[Message], rng: Random) -> bytes:
    return raw[: rng.randint(0, len(raw))]


def _spliced(raw: bytes, _: type[Message], rng: Random) -> bytes:
    at, drop = rng.randint(0, len(raw)), rng.choice((0, 1, 5))
    return raw[:at] + rng.randbytes(rng.randint(0, 20)) + raw[at + drop :]


def _trailing(raw: bytes, _: type[Message], rng: Random) -> bytes:
    return raw + rng.randbytes(rng.choice((1, 1, 4, 100)))


def _said_twice(raw: bytes, _: type[Message], rng: Random) -> bytes:
    return raw * rng.choice((2, 2, 3, 70))


def _unknown_field(raw: bytes, _: type[Message], rng: Random) -> bytes:
    number = rng.choice((0, 4, 7, 14, 16, 1000, 19000, 2**29 - 1, 2**31))
    return _joined(raw, _field(number, rng.randrange(8), rng), rng)


def _wrong_wire_type(raw: bytes, kind: type[Message], rng: Random) -> bytes:
    number = _number(kind, rng)
    return _joined(raw, _field(number, rng.randrange(8), rng), rng)


def _group(raw: bytes, _: type[Message], rng: Random) -> bytes:
    """Groups in groups, closed or not, or closed before they are opened."""
    depth = rng.choice((1, 3, 120))
    opened, closed = varint(1 << 3 | 3) * depth, varint(1 << 3 | 4) * rng.choice((depth, depth, depth - 1, 0))
    return _joined(raw, opened + rng.choice((b"", raw)) + closed, rng)


def _nested(raw: bytes, kind: type[Message], rng: Random) -> bytes:
    """A message in a field of its own kind, again and again: deeper than a parser follows."""
    number = _number(kind, rng)
    for _ in range(rng.choice((1, 5, 150))):
        raw = varint(number << 3 | 2) + varint(len(raw)) + raw
    return raw


def _long_varint(raw: bytes, kind: type[Message], rng: Random) -> bytes:
    """A number in more bytes than it needs, or than there may be."""
    number = _number(kind, rng)
    return _joined(raw, varint(number << 3) + b"\x80" * rng.choice((1, 8, 9, 10, 40)) + rng.choice((b"\0", b"")), rng)


def _many_fields(raw: bytes, _: type[Message], rng: Random) -> bytes:
    return _joined(raw, rng.choice((b"\x80\x01\x00", b"\x12\x00", b"\x0a\x00")) * rng.choice((60, 70, 3000)), rng)


def _random(_raw: bytes, _: type[Message], rng: Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 2, 10, 100, 1000)))


BYTE_MUTATIONS: tuple[Callable[[bytes, type[Message], Random], bytes], ...] = (
    *(_flipped, _cut, _spliced, _trailing, _said_twice, _unknown_field, _wrong_wire_type),
    *(_group, _nested, _long_varint, _many_fields, _random),
)


def _number(kind: type[Message], rng: Random) -> int:
    """Of a field that such a message has."""
    return rng.choice([field.number for field in kind.DESCRIPTOR.fields])


def _joined(raw: bytes, field: bytes, rng: Random) -> bytes:
    return rng.choice((raw + field, field + raw))


def _field(number: int, wire_type: int, rng: Random) -> bytes:
    """A field with content of this wire type, of which 6 and 7 do not exist."""
    content = rng.randbytes(rng.randint(0, 30))
    body = {0: varint(rng.getrandbits(64)), 1: rng.randbytes(8), 2: varint(len(content)) + content, 5: rng.randbytes(4)}
    return varint(number << 3 | wire_type) + body.get(wire_type, b"")


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
