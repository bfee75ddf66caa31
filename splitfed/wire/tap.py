"""Turns a copy of the wire's bytes into `Observation`s: what a curious party between client and server sees."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from splitfed.errors import FrameError, WireError
from splitfed.wire import limits
from splitfed.wire.backlog import Direction
from splitfed.wire.checks import StreamRules
from splitfed.wire.http2 import Ended, MessageReader, Unreadable
from splitfed.wire.tapped import NoRoom, Room, TappedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitfed.types import Observation
    from splitfed.wire.http2 import Event, Message

logger = logging.getLogger(__name__)

_TLS_HANDSHAKE = b"\x16\x03"
_WAITING_BYTES = 256 * 2**20
_ANY_CLASSES = StreamRules(classes=None)


@dataclass
class _Connection:
    readers: dict[Direction, MessageReader]
    streams: dict[int, TappedStream] = field(default_factory=dict)
    start: bytes = b""
    unreadable: bool = False


class Tap:
    """Observer of a `Relay`: reads its copy, and emits each activation that the server takes.

    What it cannot read it counts and leaves alone: TLS, another protocol, a connection whose beginning it has
    not seen, one of which bytes were dropped.

    Args:
        emit: gets each observation, once it is answered, in the order of the wire; see `tapped`.
        notice: gets a sentence for the user when something is lost to the tap.
        rules: those of the server.
        waiting_bytes: how much may wait for the server's answers.

    Attributes:
        activations: observations so far.
        ciphertext: connections that begin like TLS.
        unparsed: connections that cannot be read, those in TLS included.
        ignored: messages on readable connections that are no activations this protocol would accept.
        missed: messages for which there was no room to wait.
    """

    def __init__(
        self,
        emit: Callable[[Observation], None],
        notice: Callable[[str], None] = logger.warning,
        *,
        rules: StreamRules = _ANY_CLASSES,
        waiting_bytes: int = _WAITING_BYTES,
    ) -> None:
        self._emit = emit
        self._notice = notice
        self._rules = rules
        self._room = Room(waiting_bytes)
        self._connections: dict[int, _Connection] = {}
        self.activations = 0
        self.ciphertext = 0
        self.unparsed = 0
        self.ignored = 0
        self.missed = 0

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        """These bytes passed."""
        state = self._state(connection)
        if state.unreadable:
            return
        if len(state.start) < len(_TLS_HANDSHAKE):
            state.start += data[: len(_TLS_HANDSHAKE)]
        try:
            for event in state.readers[direction].feed(data):
                self._take(state, direction, event)
        except FrameError as error:
            self._give_up(connection, state, str(error))

    def dropped(self, connection: int) -> None:
        """Bytes of this connection were lost to the tap."""
        state = self._state(connection)
        if not state.unreadable:
            self._give_up(connection, state, "the tap is too slow, and bytes were dropped from its copy")

    def closed(self, connection: int) -> None:
        """This connection is over."""
        state = self._connections.pop(connection, None)
        if state is not None:
            _end_all(state)

    @property
    def held_bytes(self) -> int:
        """How much waits for answers now."""
        return self._room.used_bytes

    def summary(self) -> str:
        """What the tap has seen, in one line."""
        if self.unparsed and not self.activations:
            kind = "ciphertext" if self.ciphertext == self.unparsed else "unreadable"
            return f"{kind}: 0 activations from {self.unparsed} connections"
        return f"{self.activations} activations; {self.unparsed} connections unreadable"

    def _state(self, connection: int) -> _Connection:
        if connection not in self._connections:
            self._connections[connection] = _Connection(_readers())
        return self._connections[connection]

    def _give_up(self, connection: int, state: _Connection, reason: str) -> None:
        state.unreadable = True
        _end_all(state)
        state.readers.clear()
        self.unparsed += 1
        if state.start.startswith(_TLS_HANDSHAKE):
            self.ciphertext += 1
            reason = "ciphertext (TLS): 0 activations"
            if self.ciphertext > 1:
                return  # said: a federation under TLS has a connection per client, round and phase
        self._notice(f"tap: connection {connection} cannot be read: {reason}")

    def _take(self, state: _Connection, direction: Direction, event: Event) -> None:
        try:
            if isinstance(event, Ended):
                self._take_end(state, direction, event)
            elif direction is Direction.TO_CLIENT:
                self._take_answer(state, event)
            elif event.path == limits.METHOD:
                self._take_question(state, event)
        except WireError:
            self.ignored += 1  # the server will refuse it as well
        except NoRoom:
            self._miss()

    def _take_question(self, state: _Connection, event: Message | Unreadable) -> None:
        stream = state.streams.get(event.stream)
        if stream is None:
            stream = state.streams[event.stream] = TappedStream(self._rules, self._room, self._observe)
        if isinstance(event, Unreadable):
            stream.deafen()
            raise FrameError(event.reason)
        stream.question(event.payload)

    def _take_answer(self, state: _Connection, event: Message | Unreadable) -> None:
        stream = state.streams.get(event.stream)
        if stream is None:
            return  # another service on the same connection
        if isinstance(event, Unreadable):
            raise FrameError(event.reason)
        stream.answer(event.payload)

    def _take_end(self, state: _Connection, direction: Direction, event: Ended) -> None:
        """A client that has said all may yet be answered; a server that has, or a reset, ends both directions."""
        if direction is Direction.TO_CLIENT or event.reset:
            for reader in state.readers.values():
                reader.forget(event.stream)
            if (stream := state.streams.pop(event.stream, None)) is not None:
                stream.end()

    def _observe(self, observation: Observation) -> None:
        self.activations += 1
        self._emit(observation)

    def _miss(self) -> None:
        self.missed += 1
        if self.missed == 1:
            limit = self._room.limit_bytes
            self._notice(f"tap: more than {limit} bytes wait for answers of the server; it misses what comes on top")


def _end_all(state: _Connection) -> None:
    for stream in state.streams.values():
        stream.end()
    state.streams.clear()


def _readers() -> dict[Direction, MessageReader]:
    most = limits.MAX_MESSAGE_BYTES + limits.SLACK_BYTES
    return {
        Direction.TO_SERVER: MessageReader(preface=True, max_message_bytes=most),
        Direction.TO_CLIENT: MessageReader(preface=False, max_message_bytes=most),
    }
