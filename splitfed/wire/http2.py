"""Reads one direction of an HTTP/2 connection, as bytes come by, into the gRPC messages that it carries.

RFC 9113 (frames), RFC 7541 (headers) and the gRPC protocol's length-prefixed messages. It only listens: it never
answers, and what it cannot follow it gives up on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hpack import Decoder, HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PushPromiseFrame, RstStreamFrame

from splitfed.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_FRAME_HEADER_BYTES = 9
_MESSAGE_HEADER_BYTES = 5
_MAX_HEADERS_BYTES = 2**20
_MAX_TABLE_BYTES = 2**20  # what a peer may have allowed the other; an eavesdropper takes any


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
        self._decoder = Decoder(max_header_list_size=_MAX_HEADERS_BYTES)
        self._decoder.max_allowed_table_size = _MAX_TABLE_BYTES
        self._streams: dict[int, _Stream] = {}

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
        except (HyperframeError, HPACKError) as error:
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

    def _take(self, frame: Frame) -> Iterator[Event]:
        if self._headers_of is not None and not (
            isinstance(frame, ContinuationFrame) and frame.stream_id == self._headers_of
        ):
            raise FrameError("headers are cut off by another frame")
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            yield from self._take_headers(frame)
        elif isinstance(frame, DataFrame):
            yield from self._take_data(frame)
            if "END_STREAM" in frame.flags:
                yield self._end(frame.stream_id)
        elif isinstance(frame, RstStreamFrame):
            yield self._end(frame.stream_id, reset=True)
        elif isinstance(frame, PushPromiseFrame):
            raise FrameError("gRPC has no push promises")

    def _end(self, stream: int, *, reset: bool = False) -> Ended:
        self._streams.pop(stream, None)
        return Ended(stream, reset)

    def _take_headers(self, frame: HeadersFrame | ContinuationFrame) -> Iterator[Ended]:
        if isinstance(frame, HeadersFrame):
            self._headers_are_last = "END_STREAM" in frame.flags
        self._headers += frame.data
        self._headers_of = frame.stream_id
        if len(self._headers) > _MAX_HEADERS_BYTES:
            raise FrameError(f"headers of more than {_MAX_HEADERS_BYTES} bytes")
        if "END_HEADERS" not in frame.flags:
            return
        headers = dict(self._decoder.decode(bytes(self._headers), raw=True))
        self._headers.clear()
        self._headers_of = None
        stream = self._streams.setdefault(frame.stream_id, _Stream())
        stream.path = headers.get(b":path", stream.path.encode()).decode("latin-1")
        if self._headers_are_last:
            yield self._end(frame.stream_id)

    def _take_data(self, frame: DataFrame) -> Iterator[Message | Unreadable]:
        stream = self._streams.get(frame.stream_id)
        if stream is None or stream.unreadable:
            return  # after its end: RFC 9113 lets late frames of a reset stream pass
        stream.pending += frame.data
        try:
            while (end := self._message_end(stream.pending)) is not None:
                yield Message(frame.stream_id, stream.path, bytes(stream.pending[_MESSAGE_HEADER_BYTES:end]))
                del stream.pending[:end]
        except _MessageRefused as refused:
            stream.unreadable = True
            stream.pending.clear()
            yield Unreadable(frame.stream_id, stream.path, str(refused))

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


def _frames(view: memoryview) -> Iterator[tuple[Frame, int]]:
    """The complete frames in ``view``, each with where it ends."""
    start = 0
    while len(view) - start >= _FRAME_HEADER_BYTES:
        body = start + _FRAME_HEADER_BYTES
        frame, length = Frame.parse_frame_header(view[start:body])
        if len(view) < body + length:
            return
        frame.parse_body(view[body : body + length])
        start = body + length
        yield frame, start
