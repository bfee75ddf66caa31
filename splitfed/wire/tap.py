"""Turns a copy of the wire's bytes into `Observation`s: what a curious party between client and server sees."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from splitfed.errors import FrameError
from splitfed.types import Observation
from splitfed.wire import limits
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.backlog import Direction
from splitfed.wire.codec import all_finite
from splitfed.wire.frames import read_hello, read_labels, read_spec, read_tensor, unpack
from splitfed.wire.http2 import MessageReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitfed.wire.http2 import Message
    from splitfed.wire.session import Hello

logger = logging.getLogger(__name__)

_TLS_HANDSHAKE = b"\x16\x03"


@dataclass
class _Stream:
    hello: Hello
    accepted: bool = False


@dataclass
class _Connection:
    readers: dict[Direction, MessageReader]
    streams: dict[int, _Stream] = field(default_factory=dict)
    start: bytes = b""
    unreadable: bool = False


class Tap:
    """Observer of a `Relay`: reads its copy, and emits each activation that an accepted stream carries.

    What it cannot read it counts and leaves alone: TLS, another protocol, a connection whose beginning it has
    not seen, one of which bytes were dropped.

    Args:
        emit: gets each observation, in the order of the wire.
        notice: gets a sentence for the user when a connection turns out to be unreadable.

    Attributes:
        activations: observations so far.
        ciphertext: connections that begin like TLS.
        unparsed: connections that cannot be read, those in TLS included.
        ignored: messages on readable connections that are no activations this protocol would accept.
    """

    def __init__(self, emit: Callable[[Observation], None], notice: Callable[[str], None] = logger.warning) -> None:
        self._emit = emit
        self._notice = notice
        self._connections: dict[int, _Connection] = {}
        self.activations = 0
        self.ciphertext = 0
        self.unparsed = 0
        self.ignored = 0

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        """These bytes passed."""
        state = self._connections.setdefault(connection, _Connection(_readers()))
        if state.unreadable:
            return
        if len(state.start) < len(_TLS_HANDSHAKE):
            state.start += data[: len(_TLS_HANDSHAKE)]
        try:
            for message in state.readers[direction].feed(data):
                self._take(state, direction, message)
        except FrameError as error:
            self._give_up(connection, state, str(error))

    def dropped(self, connection: int) -> None:
        """Bytes of this connection were lost to the tap."""
        state = self._connections.setdefault(connection, _Connection(_readers()))
        if not state.unreadable:
            self._give_up(connection, state, "the tap is too slow, and bytes were dropped from its copy")

    def closed(self, connection: int) -> None:
        """This connection is over."""
        self._connections.pop(connection, None)

    def summary(self) -> str:
        """What the tap has seen, in one line."""
        if self.unparsed and not self.activations:
            kind = "ciphertext" if self.ciphertext == self.unparsed else "unreadable"
            return f"{kind}: 0 activations from {self.unparsed} connections"
        return f"{self.activations} activations; {self.unparsed} connections unreadable"

    def _give_up(self, connection: int, state: _Connection, reason: str) -> None:
        state.unreadable = True
        state.streams.clear()
        state.readers.clear()
        self.unparsed += 1
        if state.start.startswith(_TLS_HANDSHAKE):
            self.ciphertext += 1
            reason = "ciphertext (TLS): 0 activations"
        self._notice(f"tap: connection {connection} cannot be read: {reason}")

    def _take(self, state: _Connection, direction: Direction, message: Message) -> None:
        try:
            if direction is Direction.TO_CLIENT:
                self._take_answer(state, message)
            elif message.path == limits.METHOD:
                self._take_question(state, message)
        except FrameError:
            self.ignored += 1  # the server will refuse it as well

    def _take_question(self, state: _Connection, message: Message) -> None:
        frame, data = unpack(pb.ClientFrame, message.payload)
        if frame.HasField("hello"):
            state.streams[message.stream] = _Stream(read_hello(frame.hello))
        elif frame.HasField("forward"):
            stream = state.streams.get(message.stream)
            if stream is None or not stream.accepted:
                raise FrameError("an activation on a stream that was not accepted")
            self._observe(stream.hello, frame.forward, data)

    def _take_answer(self, state: _Connection, message: Message) -> None:
        stream = state.streams.get(message.stream)
        if stream is None:
            return  # another service on the same connection
        frame, _ = unpack(pb.ServerFrame, message.payload)
        stream.accepted = not frame.HasField("refusal")

    def _observe(self, hello: Hello, message: pb.Forward, data: memoryview) -> None:
        activation = read_tensor(read_spec(message.tensor), data)
        labels = read_labels(message)
        rows = len(activation) if activation.ndim else 0
        if not rows or not all_finite(activation) or (labels is not None and len(labels) != rows):
            raise FrameError("an activation that the server refuses")
        self.activations += 1
        self._emit(Observation(hello.run, hello.round, hello.client, hello.phase, message.step, activation, labels))


def _readers() -> dict[Direction, MessageReader]:
    most = limits.MAX_MESSAGE_BYTES + limits.SLACK_BYTES
    return {
        Direction.TO_SERVER: MessageReader(preface=True, max_message_bytes=most),
        Direction.TO_CLIENT: MessageReader(preface=False, max_message_bytes=most),
    }
