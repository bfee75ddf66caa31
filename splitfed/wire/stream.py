"""One stream from the server's side: from Hello to Finished, a Refusal or its loss."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import grpc

from splitfed.errors import CorruptFrame, FrameError, Refused
from splitfed.wire import limits
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.frames import accept_frame, finished_frame, known_reason, refusal_frame, unpack
from splitfed.wire.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from splitfed.wire.checks import StreamRules
    from splitfed.wire.exactly_once import Ledger, Seat
    from splitfed.wire.proof import Claim
    from splitfed.wire.session import Hello
    from splitfed.wire.traffic import ServerTraffic

logger = logging.getLogger(__name__)


class _StreamLost(Exception):
    """No frame came in time."""


class Waits(NamedTuple):
    """How long a server waits for a stream; each wait ends in its cancellation.

    Attributes:
        hello_s: for its Hello; so long may a connection also be without any stream.
        idle_s: for its next frame.
        send_s: for an answer to be sent, which takes for ever where the client does not read.
    """

    hello_s: float = limits.HELLO_S
    idle_s: float = limits.IDLE_S
    send_s: float = limits.SEND_S


WAITS = Waits()


class ServerStream:
    """Answers the frames of one stream, whose client has proven ``claim``; ``accepted`` is told once its Hello was."""

    def __init__(
        self,
        frames: Iterator[bytes],
        context: grpc.ServicerContext,
        claim: Claim,
        *,
        rules: StreamRules,
        ledger: Ledger,
        counters: ServerTraffic,
        waits: Waits,
        accepted: Callable[[], None],
    ) -> None:
        self._frames = frames
        self._claim = claim
        self._rules = rules
        self._ledger = ledger
        self._counters = counters
        self._waits = waits
        self._accepted = accepted
        self._watchdog = Watchdog(min(waits), context.cancel)

    def answers(self) -> Iterator[bytes]:
        """One answer after the other; frames are read as they are answered."""
        try:
            yield from self._conversation()
        except Refused as refusal:
            yield from self._refuse(refusal)
        except CorruptFrame as error:
            yield from self._refuse(Refused("CORRUPTED", str(error)))
        except FrameError as error:
            yield from self._refuse(Refused("GARBLED", str(error)))
        except (grpc.RpcError, _StreamLost):
            self._counters.count(broken=1)
        except Exception as error:
            logger.exception("a stream failed")
            why = f"the server failed ({type(error).__name__}); its log says how"
            yield from self._refuse(Refused("INTERNAL", why))
        finally:
            self._watchdog.close()

    def _conversation(self) -> Iterator[bytes]:
        hello, stream = self._introduction()
        seat, turn, next_step = self._ledger.take_seat(hello, stream)
        self._accepted()
        yield from self._send(accept_frame(next_step))
        while (raw := self._next_frame(self._waits.idle_s)) is not None:
            frame, data = unpack(pb.ClientFrame, raw)
            if frame.HasField("forward"):
                yield from self._forward(hello, seat, turn, frame.forward, data)
            elif frame.HasField("backward"):
                yield from self._backward(hello, seat, turn, frame.backward, data)
            elif frame.HasField("done"):
                seat.finish(turn, frame.done.steps, frame.done.examples)
                self._counters.count(finished=1)
                yield from self._send(finished_frame(frame.done.steps, frame.done.examples), last=True)
                return
            else:
                raise Refused("OUT_OF_ORDER", f"{hello}: want Forward or Done, got a second Hello")
        self._counters.count(broken=1)

    def _forward(self, hello: Hello, seat: Seat, turn: int, message: pb.Forward, data: memoryview) -> Iterator[bytes]:
        batch = self._rules.batch(hello, message, data)
        try:
            yield from self._send(seat.forward(turn, message.step, *batch))
        finally:  # also when the client is gone: the step was taken
            seat.settle()

    def _backward(self, hello: Hello, seat: Seat, turn: int, message: pb.Backward, data: memoryview) -> Iterator[bytes]:
        gradient = self._rules.gradient(hello, message, data)
        try:
            yield from self._send(seat.backward(turn, message.step, gradient))
        finally:  # also when the client is gone: the step was taken
            seat.settle()

    def _introduction(self) -> tuple[Hello, bytes]:
        raw = self._next_frame(self._waits.hello_s)
        if raw is None:
            raise Refused("OUT_OF_ORDER", "want Hello, got nothing")
        hello, stream = self._rules.introduction(raw)
        if (hello.run, hello.client, stream) != (self._claim.run, self._claim.client, self._claim.stream):
            proven = f"client-{self._claim.client} of {self._claim.run!r}"
            raise Refused("BAD_TOKEN", f"{hello} Hello: want the run, client and stream that were proven, of {proven}")
        return hello, stream

    def _next_frame(self, limit_s: float) -> bytes | None:
        """The next frame, or None where the client has ended.

        Raises:
            _StreamLost: none came within ``limit_s``.
        """
        self._watchdog.arm(limit_s)
        raw = next(self._frames, None)
        self._watchdog.disarm()
        if raw is None:
            if self._watchdog.expired:  # gRPC may end a canceled stream as if the client had ended it
                raise _StreamLost
            return None
        self._counters.count_of(self._claim.client, frames=1, received_bytes=len(raw))
        self._rules.check_size(raw)
        return raw

    def _send(self, answer: bytes, *, last: bool = False) -> Iterator[bytes]:
        """Hand ``answer`` to gRPC, which asks for the next one once it is sent, and gives up where it cannot be."""
        self._counters.count_of(self._claim.client, sent_bytes=len(answer))
        self._watchdog.arm(self._waits.send_s)
        try:
            yield answer
        except GeneratorExit:
            if not last:  # else it is counted already, as finished or refused
                self._counters.count(broken=1)
            raise
        self._watchdog.disarm()

    def _refuse(self, refusal: Refused) -> Iterator[bytes]:
        reason = known_reason(refusal.reason)
        self._counters.refuse(reason)
        logger.info("refused %s: %s", reason, refusal.message)
        yield from self._send(refusal_frame(reason, refusal.message), last=True)
