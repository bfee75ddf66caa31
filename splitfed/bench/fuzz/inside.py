"""The server and the tap in this process, without gRPC between them: each stream is judged by both, and by the books.

The books: every stream that was opened is finished, refused, or broken, once; who was refused was told the same
reason; every frame that was read has one answer, of its kind and step, and no frame of a stream that proved nothing was
read. The tap observes what was answered with a gradient, or with features where labels stay with the client, and
nothing else, to the bit what the session was given; what is neither answered nor observed it has ignored and counted;
and nothing waits once the connection is over.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from splitfed.bench.fuzz.books import Disagreement, agree, answered_batches, check_kinds
from splitfed.bench.fuzz.conversations import MAX_MESSAGE_BYTES, SERVER_FRAME
from splitfed.bench.fuzz.host import CLASSES, SECRET, Applied, NotingHost
from splitfed.bench.fuzz.http2_frames import (
    END_HEADERS,
    END_STREAM,
    RESET,
    block,
    frame,
    headers,
    message,
    opening,
    request,
)
from splitfed.wire.backlog import Direction
from splitfed.wire.checks import StreamRules
from splitfed.wire.frames import read_refusal_trailer, reason_name, unpack
from splitfed.wire.service import SplitServer
from splitfed.wire.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import grpc
    from torch import Tensor

    from splitfed.bench.fuzz.alarms import Alarms
    from splitfed.bench.fuzz.conversations import Dialed
    from splitfed.errors import Refused
    from splitfed.types import Observation

RULES = StreamRules(CLASSES, MAX_MESSAGE_BYTES)
STREAM = 1


class TurnedAway(Exception):
    """What gRPC raises in a handler that aborts."""


class CallWithoutGrpc:
    """What a server needs of a gRPC call."""

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        self._metadata = tuple(metadata)
        self.refusal: Refused | None = None

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the client sent ahead."""
        return self._metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        """What its certificate says: there is none."""
        return {}

    def cancel(self) -> None:
        """Nobody waits here."""

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """How a stream is told that it is turned away."""
        self.refusal = read_refusal_trailer(metadata)

    def abort(self, code: object, details: str) -> None:  # noqa: ARG002
        """End it.

        Raises:
            TurnedAway: as gRPC does.
        """
        raise TurnedAway


class Heard(NamedTuple):
    """What became of one stream.

    Attributes:
        read: how many frames the server took from gRPC.
        answers: its answers, parsed.
        turned_away: the refusal in the trailing metadata.
        observed: what the tap emitted.
        applied: what a session was given.
        ignored: what the tap counted as no activation.
    """

    read: int
    answers: list[Any]
    turned_away: str | None
    observed: list[Observation]
    applied: list[Applied]
    ignored: int

    @property
    def refused(self) -> str | None:
        """Why, if it was."""
        last = self.answers[-1] if self.answers else None
        if last is not None and last.HasField("refusal"):
            return reason_name(last.refusal.reason)
        return self.turned_away


class Inside:
    """A server and a tap that stay, while streams come and go."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self.host = NotingHost()
        self.server = SplitServer(self.host, secret=SECRET, max_message_bytes=MAX_MESSAGE_BYTES)
        self.seen: list[Observation] = []
        self.tap = Tap(self.seen.append, _no_notice, rules=RULES)
        self._connections = 0

    def close(self) -> None:
        """The server ends."""
        self.server.close()

    def play(self, dialed: Dialed, proof: Iterable[tuple[str, str | bytes]]) -> Heard:
        """One stream from its first frame to its end, checked.

        Raises:
            Disagreement: the books do not balance.
        """
        before, ignored, applied = self._books(), self.tap.ignored, len(self.host.applied)
        call = CallWithoutGrpc(proof)
        wire = _Wire(self.tap, self._next_connection(), dialed)
        self.seen.clear()
        answers: list[bytes] = []
        try:
            for answer in self.server.stream(wire.frames(), cast("grpc.ServicerContext", call)):
                answers.append(answer)
                wire.answer(answer)
        except TurnedAway:
            pass
        wire.end()
        heard = Heard(
            wire.read,
            [unpack(SERVER_FRAME, answer)[0] for answer in answers],
            call.refusal.reason if call.refusal else None,
            list(self.seen),
            list(self.host.applied)[applied:],
            self.tap.ignored - ignored,
        )
        self.host.applied.clear()
        agree("errors in the server", self._alarms.kept, [])
        _check_server(dialed, heard, answers, self._books() - before)
        check_kinds(dialed.frames, heard.answers)
        _check_tap(dialed, heard)
        agree("bytes that wait at the tap", self.tap.held_bytes, 0)
        agree("connections that the tap cannot read", self.tap.unparsed, 0)
        return heard

    def _next_connection(self) -> int:
        self._connections += 1
        return self._connections

    def _books(self) -> Counter[str]:
        counters = self.server.counters
        return Counter(
            {
                "streams": counters.streams,
                "frames": counters.frames,
                "received_bytes": counters.received_bytes,
                "sent_bytes": counters.sent_bytes,
                "finished": counters.finished,
                "broken": counters.broken,
                **counters.refused,
            }
        )


class _Wire:
    """What passes the tap of one stream: up to ``ahead`` frames before the answer to the first of them."""

    def __init__(self, tap: Tap, connection: int, dialed: Dialed) -> None:
        self._tap = tap
        self._connection = connection
        self._dialed = dialed
        self._sent = 0
        self._answered = False
        self.read = 0
        tap.received(connection, Direction.TO_SERVER, opening() + request(STREAM, ()))

    def frames(self) -> Iterator[bytes]:
        """What the server reads."""
        for number, raw in enumerate(self._dialed.frames):
            self._send(number + self._dialed.ahead)
            self.read += 1
            yield raw

    def answer(self, raw: bytes) -> None:
        """The server said this."""
        start = b"" if self._answered else headers(STREAM, block([(":status", b"200")]))
        self._answered = True
        self._tap.received(self._connection, Direction.TO_CLIENT, start + message(STREAM, raw))

    def end(self) -> None:
        """The client says the rest, and the stream ends in one of its ways; then the connection."""
        self._send(len(self._dialed.frames))
        ways = (
            (Direction.TO_CLIENT, headers(STREAM, block([("grpc-status", b"0")]), END_HEADERS | END_STREAM)),
            (Direction.TO_CLIENT, frame(RESET, 0, STREAM, bytes(4))),
            (Direction.TO_SERVER, frame(RESET, 0, STREAM, bytes(4))),
            (Direction.TO_SERVER, b""),
        )
        self._tap.received(self._connection, *ways[self._connection % len(ways)])
        self._tap.closed(self._connection)

    def _send(self, count: int) -> None:
        for raw in self._dialed.frames[self._sent : count]:
            self._tap.received(self._connection, Direction.TO_SERVER, message(STREAM, raw))
        self._sent = max(self._sent, min(count, len(self._dialed.frames)))


def _check_server(dialed: Dialed, heard: Heard, answers: list[bytes], booked: Counter[str]) -> None:
    said_nothing = bool(answers) and not dialed.frames  # which is refused, too
    expected = Counter(
        streams=1,
        frames=heard.read,
        received_bytes=sum(map(len, dialed.frames[: heard.read])),
        sent_bytes=sum(map(len, answers)),
    )
    finished = bool(answers) and heard.answers[-1].HasField("finished")
    expected[heard.refused or ("finished" if finished else "broken")] += 1
    agree("what the server counted", booked, +expected)
    if heard.turned_away:
        agree("frames read of a stream that was turned away", (heard.read, len(answers)), (0, 0))
    else:
        agree("answers to the frames that were read", len(answers), heard.read + said_nothing)
    if not (heard.refused or finished):
        agree("frames read of a stream that its client ended", heard.read, len(dialed.frames))


def _check_tap(dialed: Dialed, heard: Heard) -> None:
    answered = answered_batches(dialed.frames, heard.answers)
    agree("steps that the tap observed", [observation.step for observation in heard.observed], answered)
    _check_activations(heard)
    if dialed.ahead == 1 and not heard.turned_away:
        taken = sum(not answer.HasField("refusal") for answer in heard.answers)
        left = len(dialed.frames) - taken - heard.ignored
        # the one frame that the server refuses for a reason of its own is not the tap's to count
        if not 0 <= left <= (heard.refused is not None):
            raise Disagreement(
                f"of {len(dialed.frames)} frames {taken} were taken, and the tap ignored {heard.ignored}"
            )


def _check_activations(heard: Heard) -> None:
    """What was observed is what the session was given; a step that was sent again is answered, and not given twice."""
    given = list(heard.applied)
    for observation in heard.observed:
        if not given or observation.step < given[0].step:
            continue
        applied = given.pop(0)
        same = torch.equal(observation.activation, applied.activation)
        labels = _same(observation.labels, applied.labels)
        whose = (observation.client, observation.phase) == (applied.client, applied.phase)
        agree(f"step {observation.step} as the tap and the session have it", (same, labels, whose), (True,) * 3)
    if len(given) > (heard.refused is not None):  # its result may have been refused
        raise Disagreement(f"{len(given)} batches were given to a session that the tap did not observe")


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


def _no_notice(_: str) -> None:
    """The user is told elsewhere."""
