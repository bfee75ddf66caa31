"""Reads one direction of an HTTP/2 connection, as bytes come by, into the gRPC messages that it carries.

RFC 9113 (frames), RFC 7541 (headers) and the gRPC protocol's length-prefixed messages. It only listens: it never
answers, and what it cannot follow it gives up on. What gRPC passes over it passes over too, well formed or not, or a
client could blind it with one odd frame and go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hpack import Decoder, HPACKError

from splitfed.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_FRAME_HEADER_BYTES = 9
_MESSAGE_HEADER_BYTES = 5
_MAX_HEADERS_BYTES = 2**16  # gRPC takes 2^14 of a stream; what a block costs to decode grows with its square
_MAX_TABLE_BYTES = 2**20  # what a peer may have allowed the other; an eavesdropper takes any
_ANY_LIST_BYTES = 2**62  # a header that is named again by its index takes no memory; gRPC refuses that stream alone

_DATA, _HEADERS, _RESET, _CONTINUATION = 0x0, 0x1, 0x3, 0x9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x4, 0x8, 0x20
_FOLLOWED = (_DATA, _HEADERS, _RESET, _CONTINUATION)
_PRIORITY_BYTES, _RESET_BYTES = 5, 4


class Message(NamedTuple):
    """One gRPC message.

    Attributes:
        stream: HTTP/2 stream; the same number in both directions.
        path: of the call, as its client asked; empty in the server's direction.
        payload: without its prefix.
    """

    stream: int
    path: str
    payload: bytes


class Unreadable(NamedTuple):
    """A message that no splitfed server reads either, compressed or too large; its stream is not followed further."""

    stream: int
    path: str
    reason: str


class Ended(NamedTuple):
    """Nothing more comes on this stream in this direction; ``reset`` is when it was broken off, which ends both."""

    stream: int
    reset: bool


class _MessageRefused(Exception):
    """Why a message is not read."""


Event = Message | Unreadable | Ended


class _Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    body: bytes


@dataclass
class _Stream:
    path: str = ""
    pending: bytearray = field(default_factory=bytearray)
    unreadable: bool = False


class MessageReader:
    """Takes bytes in any portions and gives the messages that they complete, and the streams that they end.

    Args:
        preface: whether the bytes begin with the client's connection preface.
        max_message_bytes: a stream with anything larger is given up on.
    """

    def __init__(self, *, preface: bool, max_message_bytes: int) -> None:
        self._preface = PREFACE if preface else b""
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._headers = bytearray()
        self._headers_of: int | None = None
        self._headers_are_last = False
        self._decoder = Decoder(max_header_list_size=_ANY_LIST_BYTES)
        self._decoder.max_allowed_table_size = _MAX_TABLE_BYTES
        self._streams: dict[int, _Stream] = {}
        self._of_client = preface
        self._newest = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """What ends within ``data``.

        Raises:
            FrameError: this is not HTTP/2, or cannot be followed; do not feed any further.
        """
        self._buffer += data
        if not self._preface_read():
            return
        start = 0
        try:
            with memoryview(self._buffer) as view:
                for frame, end in _frames(view):
                    start = end
                    yield from self._take(frame)
        except HPACKError as error:
            raise FrameError(f"not HTTP/2 that can be followed: {error!r}") from None
        del self._buffer[:start]

    def forget(self, stream: int) -> None:
        """Follow this stream no further: the other direction has ended it."""
        self._streams.pop(stream, None)

    def _preface_read(self) -> bool:
        seen = bytes(self._buffer[: len(self._preface)])
        if not self._preface.startswith(seen):
            raise FrameError(f"no HTTP/2 connection begins with {seen!r}")
        if len(seen) < len(self._preface):
            return False
        del self._buffer[: len(self._preface)]
        self._preface = b""
        return True

    def _take(self, frame: _Frame) -> Iterator[Event]:
        if self._headers_of is not None and (frame.kind, frame.stream) != (_CONTINUATION, self._headers_of):
            raise FrameError("headers are cut off by another frame")
        if frame.kind == _DATA:
            yield from self._take_data(frame)
            if frame.flags & _END_STREAM:
                yield self._end(frame.stream)
        elif frame.kind == _HEADERS:
            self._headers_are_last = bool(frame.flags & _END_STREAM)
            yield from self._take_headers(frame, _without_padding(frame))
        elif frame.kind == _CONTINUATION:
            if self._headers_of is None:
                raise FrameError("a continuation of no headers")
            yield from self._take_headers(frame, frame.body)
        elif frame.kind == _RESET:
            if len(frame.body) != _RESET_BYTES:
                raise FrameError(f"a reset of {len(frame.body)} bytes")
            yield self._end(frame.stream, reset=True)

    def _end(self, stream: int, *, reset: bool = False) -> Ended:
        self._streams.pop(stream, None)
        return Ended(stream, reset)

    def _take_headers(self, frame: _Frame, block: bytes) -> Iterator[Ended]:
        self._headers += block
        self._headers_of = frame.stream
        if len(self._headers) > _MAX_HEADERS_BYTES:
            raise FrameError(f"headers of more than {_MAX_HEADERS_BYTES} bytes")
        if not frame.flags & _END_HEADERS:
            return
        headers = dict(self._decoder.decode(bytes(self._headers), raw=True))
        self._headers.clear()
        self._headers_of = None
        if (stream := self._stream(frame.stream)) is None:
            return
        if (path := headers.get(b":path")) is not None:
            stream.path = path.decode("latin-1")
        if self._headers_are_last:
            yield self._end(frame.stream)

    def _stream(self, number: int) -> _Stream | None:
        """The stream that headers belong to; None where a client may not open it (any more), and no server would."""
        if self._of_client and number not in self._streams:
            if number <= self._newest or number % 2 == 0:
                return None
            self._newest = number
        return self._streams.setdefault(number, _Stream())

    def _take_data(self, frame: _Frame) -> Iterator[Message | Unreadable]:
        stream = self._streams.get(frame.stream)
        if stream is None or stream.unreadable:
            return  # after its end: RFC 9113 lets late frames of a reset stream pass
        try:
            stream.pending += _without_padding(frame)
            while (end := self._message_end(stream.pending)) is not None:
                yield Message(frame.stream, stream.path, bytes(stream.pending[_MESSAGE_HEADER_BYTES:end]))
                del stream.pending[:end]
        except (_MessageRefused, FrameError) as refused:
            stream.unreadable = True
            stream.pending.clear()
            yield Unreadable(frame.stream, stream.path, str(refused))

    def _message_end(self, pending: bytearray) -> int | None:
        """Where the first message in ``pending`` ends, or None if it is not complete."""
        if len(pending) < _MESSAGE_HEADER_BYTES:
            return None
        if pending[0] != 0:
            raise _MessageRefused("a compressed message; splitfed never compresses")
        length = int.from_bytes(pending[1:_MESSAGE_HEADER_BYTES])
        if length > self._max_message_bytes:
            raise _MessageRefused(f"a message of {length} bytes, more than {self._max_message_bytes}")
        end = _MESSAGE_HEADER_BYTES + length
        return end if len(pending) >= end else None


def _frames(view: memoryview) -> Iterator[tuple[_Frame, int]]:
    """The complete frames in ``view``, each with where it ends."""
    start = 0
    while len(view) - start >= _FRAME_HEADER_BYTES:
        body = start + _FRAME_HEADER_BYTES
        length, stream = int.from_bytes(view[start : start + 3]), int.from_bytes(view[start + 5 : body])
        if len(view) < body + length:
            return
        kind, flags = view[start + 3 : start + 5]
        followed = view[body : body + length].tobytes() if kind in _FOLLOWED else b""
        frame = _Frame(kind, flags, stream & 0x7FFFFFFF, followed)
        start = body + length
        yield frame, start


def _without_padding(frame: _Frame) -> bytes:
    """What a frame of data or headers holds, less its padding and the priority of its stream."""
    body = frame.body
    if frame.flags & _PADDED:
        if not body or body[0] >= len(body):
            raise FrameError(f"padding of a frame of {len(body)} bytes does not fit into it")
        body = body[1 : len(body) - body[0]]
    if frame.kind == _HEADERS and frame.flags & _PRIORITY:
        if len(body) < _PRIORITY_BYTES:
            raise FrameError(f"no priority fits into {len(body)} bytes")
        body = body[_PRIORITY_BYTES:]
    return body
