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


@dataclass
class _Stream:
    path: str = ""
    pending: bytearray = field(default_factory=bytearray)


class MessageReader:
    """Takes bytes in any portions and gives the messages that they complete.

    Args:
        preface: whether the bytes begin with the client's connection preface.
        max_message_bytes: anything larger is given up on.
    """

    def __init__(self, *, preface: bool, max_message_bytes: int) -> None:
        self._preface = PREFACE if preface else b""
        self._max_message_bytes = max_message_bytes
        self._buffer = bytearray()
        self._headers = bytearray()
        self._headers_of: int | None = None
        self._decoder = Decoder(max_header_list_size=_MAX_HEADERS_BYTES)
        self._decoder.max_allowed_table_size = _MAX_TABLE_BYTES
        self._streams: dict[int, _Stream] = {}

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that end within ``data``.

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

    def _preface_read(self) -> bool:
        seen = bytes(self._buffer[: len(self._preface)])
        if not self._preface.startswith(seen):
            raise FrameError(f"no HTTP/2 connection begins with {seen!r}")
        if len(seen) < len(self._preface):
            return False
        del self._buffer[: len(self._preface)]
        self._preface = b""
        return True

    def _take(self, frame: Frame) -> Iterator[Message]:
        if self._headers_of is not None and not (
            isinstance(frame, ContinuationFrame) and frame.stream_id == self._headers_of
        ):
            raise FrameError("headers are cut off by another frame")
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            self._take_headers(frame)
        elif isinstance(frame, DataFrame):
            yield from self._take_data(frame)
        elif isinstance(frame, RstStreamFrame):
            self._streams.pop(frame.stream_id, None)
        elif isinstance(frame, PushPromiseFrame):
            raise FrameError("gRPC has no push promises")
        if "END_STREAM" in frame.flags and self._headers_of is None:
            self._streams.pop(frame.stream_id, None)

    def _take_headers(self, frame: HeadersFrame | ContinuationFrame) -> None:
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

    def _take_data(self, frame: DataFrame) -> Iterator[Message]:
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            return  # after its end: RFC 9113 lets late frames of a reset stream pass
        stream.pending += frame.data
        while (end := self._message_end(stream.pending)) is not None:
            yield Message(frame.stream_id, stream.path, bytes(stream.pending[_MESSAGE_HEADER_BYTES:end]))
            del stream.pending[:end]

    def _message_end(self, pending: bytearray) -> int | None:
        """Where the first message in ``pending`` ends, or None if it is not complete."""
        if len(pending) < _MESSAGE_HEADER_BYTES:
            return None
        if pending[0] != 0:
            raise FrameError("a compressed message; splitfed never compresses")
        length = int.from_bytes(pending[1:_MESSAGE_HEADER_BYTES])
        if length > self._max_message_bytes:
            raise FrameError(f"a message of {length} bytes, more than {self._max_message_bytes}")
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
