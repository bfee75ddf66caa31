"""HTTP/2 by hand (RFC 9113, RFC 7541): what gRPC needs of it, and what nobody should send.

Headers are written without the dynamic table, so that a block is the same bytes wherever it stands.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from splitfed.wire.http2 import PREFACE
from splitfed.wire.limits import METHOD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from splitfed.wire.proof import Metadata

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20

_MOST_FRAME_BYTES = 16_384
_RARE_STREAMS = (0, 2, 5, 2**31 - 1)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame; ``length`` is what it says of itself."""
    said = len(payload) if length is None else length
    return said.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def opening() -> bytes:
    """How a client begins."""
    return PREFACE + frame(SETTINGS)


def request(stream: int, proof: Metadata, path: str = METHOD) -> bytes:
    """The headers of a call."""
    binary = [(key, base64.b64encode(value).rstrip(b"=")) for key, value in proof]
    plain = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers"}
    fields = [*plain.items(), ("content-type", "application/grpc")]
    return headers(stream, block([(key, value.encode()) for key, value in fields] + binary))


def headers(stream: int, header_block: bytes, flags: int = END_HEADERS) -> bytes:
    """A header block in as few frames as hold it."""
    parts = _portions(header_block) or [b""]
    first = frame(HEADERS, flags if len(parts) == 1 else flags & ~END_HEADERS, stream, parts[0])
    rest = [frame(CONTINUATION, 0, stream, part) for part in parts[1:-1]]
    last = [frame(CONTINUATION, flags & END_HEADERS, stream, parts[-1])] if len(parts) > 1 else []
    return b"".join((first, *rest, *last))


def block(fields: Iterable[tuple[str, bytes]], mark: int = 0x00) -> bytes:
    """Headers as literals; ``mark`` 0x40 has the peer remember them."""
    return b"".join(bytes((mark,)) + _string(key.encode()) + _string(value) for key, value in fields)


def message(stream: int, payload: bytes, flags: int = 0, *, prefix: bytes | None = None) -> bytes:
    """A gRPC message in DATA frames; ``prefix`` stands for the true one."""
    whole = (b"\0" + len(payload).to_bytes(4, "big") if prefix is None else prefix) + payload
    parts = _portions(whole)
    return b"".join(
        frame(DATA, flags if number == len(parts) else 0, stream, part) for number, part in enumerate(parts, 1)
    )


def _portions(whole: bytes) -> list[bytes]:
    return [whole[at : at + _MOST_FRAME_BYTES] for at in range(0, len(whole), _MOST_FRAME_BYTES)]


def _string(text: bytes) -> bytes:
    return integer(len(text), 7) + text


def integer(value: int, bits: int) -> bytes:
    """A number as HPACK writes it, behind a prefix of so many bits."""
    most = 2**bits - 1
    if value < most:
        return bytes((value,))
    encoded = bytearray((most,))
    value -= most
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# what nobody should send


def _padding(rng: Random, stream: int) -> bytes:
    pad = rng.choice((0, 1, 5, 255))
    kind, flags = rng.choice((DATA, HEADERS, PUSH)), PADDED | rng.choice((0, END_HEADERS))
    return frame(kind, flags, stream, rng.choice((b"", bytes((pad,)) + rng.randbytes(rng.randrange(9)))))


def _continuation(rng: Random, stream: int) -> bytes:
    """Alone, of another stream, without an end, or cut off by another frame."""
    first = rng.choice((b"", headers(stream, block([("a", b"b")]), 0)))
    other = rng.choice((stream, stream, stream + 2, 0))
    more = frame(CONTINUATION, 0, other, block([("c", b"d" * rng.choice((1, 900)))])) * rng.choice((1, 3, 80))
    return first + more + rng.choice((b"", frame(PING, 0, 0, bytes(8)), frame(CONTINUATION, END_HEADERS, other)))


def _settings(rng: Random, stream: int) -> bytes:
    odd = b"".join(
        rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 0xFE03, 0xFFFF)).to_bytes(2, "big")
        + rng.choice((0, 1, 100, 2**14 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)).to_bytes(4, "big")
        for _ in range(rng.choice((0, 1, 3, 50)))
    )
    cut = odd[: len(odd) - rng.choice((0, 0, 0, 1))]
    return frame(SETTINGS, rng.choice((0, 0, ACK)), rng.choice((0, 0, 0, stream)), cut) * rng.choice((1, 1, 100))


def _window(rng: Random, stream: int) -> bytes:
    """Nothing, too much, or no number."""
    more = rng.choice((0, 1, 2**31 - 1, 2**32 - 1)).to_bytes(4, "big")[: rng.choice((4, 4, 4, 3))]
    return frame(WINDOW, 0, rng.choice((0, stream, 99)), more) * rng.choice((1, 2, 50))


def _no_window(rng: Random, stream: int) -> bytes:
    """Let the peer send nothing, and ask for answers all the same."""
    zero = frame(SETTINGS, 0, 0, b"\0\4" + bytes(4))
    return zero + request(stream + 2, ()) + frame(PING, 0, 0, rng.randbytes(8)) * rng.choice((1, 30))


def _cut_off(rng: Random, stream: int) -> bytes:
    return frame(rng.randrange(12), rng.randrange(256), stream, rng.randbytes(rng.randrange(20)), length=2**14)


def _too_long(rng: Random, stream: int) -> bytes:
    return frame(rng.choice((DATA, HEADERS, SETTINGS)), 0, stream, bytes(_MOST_FRAME_BYTES + 1))


def _rapid_reset(rng: Random, stream: int) -> bytes:
    first = stream + 2
    return b"".join(
        request(number, ()) + frame(RESET, 0, number, (8).to_bytes(4, "big"))
        for number in range(first, first + 2 * rng.choice((1, 5, 60)), 2)
    )


def _reset(rng: Random, stream: int) -> bytes:
    return frame(RESET, 0, rng.choice((stream, 0, 77)), rng.randbytes(rng.choice((4, 4, 3, 0)))) * rng.choice((1, 100))


def _ping(rng: Random, stream: int) -> bytes:
    nonce = rng.randbytes(rng.choice((8, 8, 8, 7, 0)))
    return frame(PING, rng.choice((0, ACK)), rng.choice((0, 0, stream)), nonce) * rng.choice((1, 50, 300))


def _header_bomb(rng: Random, stream: int) -> bytes:
    """One long header that is remembered, and then named again and again by a byte each."""
    long = block([("bomb", b"x" * rng.choice((10, 1000, 4000)))], 0x40)
    return headers(stream + 2, long + b"\xbe" * rng.choice((1, 20, 2000)))


def _bad_headers(rng: Random, stream: int) -> bytes:
    """Tables of any size, indices of nothing, numbers without an end, strings cut off, no Huffman code."""
    bad = rng.choice(
        (
            b"\x3f" + integer(rng.choice((4096, 2**20, 2**32)), 5)[1:],
            b"\xff" + b"\xff" * rng.choice((1, 4, 9, 60)),
            b"\x80",
            b"\xfe",
            b"\x00\x05ab",
            b"\x00\x81\xff\x81\xff",
            block([("a", b"b")]) * 700,
            block([("UPPER", b"\0\r\n"), (":path", "é".encode()), (":path", b""), ("", b"")]),
            rng.randbytes(rng.randrange(1, 60)),
        )
    )
    return headers(rng.choice((stream, stream + 2)), bad, rng.choice((END_HEADERS, END_HEADERS | END_STREAM)))


def _again(rng: Random, stream: int) -> bytes:
    """More headers on a stream that is open, which gRPC knows only as its last."""
    path = rng.choice(([], [(":path", "/é".encode())], [(":path", METHOD.encode())]))
    return headers(
        stream, block([("x", b"y"), *path]), rng.choice((END_HEADERS, END_HEADERS | END_STREAM))
    ) * rng.choice((1, 2, 30))


def _wrong_stream(rng: Random, stream: int) -> bytes:
    number = rng.choice((*_RARE_STREAMS, max(0, stream - 2)))
    return rng.choice((request(number, ()), message(number, b"abc"), frame(DATA, END_STREAM, number)))


def _after_the_end(rng: Random, stream: int) -> bytes:
    return frame(DATA, END_STREAM, stream) + rng.choice(
        (message(stream, b"more"), headers(stream, block([("a", b"b")])))
    )


def _priority(rng: Random, stream: int) -> bytes:
    """Of itself, of nothing, of the wrong length."""
    depends = rng.choice((stream, 0, 2**31 - 1, 2**32 - 1)).to_bytes(4, "big")
    return frame(PRIORITY, 0, rng.choice((stream, 0, 9)), (depends + b"\xff")[: rng.choice((5, 5, 4, 0))]) * rng.choice(
        (1, 20)
    )


def _unknown(rng: Random, stream: int) -> bytes:
    kind, number = rng.choice((10, 12, 16, 0x42, 0xFF)), rng.choice((0, stream))
    return frame(kind, rng.randrange(256), number, rng.randbytes(rng.randrange(40)))


def _unasked(rng: Random, stream: int) -> bytes:
    """Promises, and a farewell."""
    return rng.choice(
        (
            frame(PUSH, END_HEADERS, stream, (4).to_bytes(4, "big") + block([("a", b"b")])),
            frame(GOAWAY, 0, 0, rng.randbytes(rng.choice((8, 20, 7)))),
            frame(HEADERS, PRIORITIZED | END_HEADERS, stream + 2, rng.randbytes(rng.randrange(9))),
        )
    )


def _bad_message(rng: Random, stream: int) -> bytes:
    """A gRPC message that is compressed, longer than it says or than there may be, or that never ends."""
    prefix = rng.choice((b"\1\0\0\0\3", b"\0\xff\xff\xff\xff", b"\0\0\0\xff\xff", b"\xff\0\0\0\3", b"\0\0", b""))
    return message(stream, rng.randbytes(rng.choice((3, 100))), rng.choice((0, END_STREAM)), prefix=prefix)


def _noise(rng: Random, _stream: int) -> bytes:
    return rng.randbytes(rng.choice((1, 9, 30, 400)))


NONSENSE: dict[str, Callable[[Random, int], bytes]] = {
    "padding": _padding,
    "continuation": _continuation,
    "settings": _settings,
    "window": _window,
    "no window": _no_window,
    "cut off": _cut_off,
    "too long": _too_long,
    "rapid reset": _rapid_reset,
    "reset": _reset,
    "ping": _ping,
    "header bomb": _header_bomb,
    "bad headers": _bad_headers,
    "headers again": _again,
    "wrong stream": _wrong_stream,
    "after the end": _after_the_end,
    "priority": _priority,
    "unknown": _unknown,
    "unasked": _unasked,
    "bad message": _bad_message,
    "noise": _noise,
}
"""By name: bytes that may stand where a frame may begin, for a stream that is open."""
