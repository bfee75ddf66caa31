"""A client's stream that outlives the connections which carry it: where one breaks, the next is dialed."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from splitfed.errors import CorruptFrame, FrameError, LinkLost, Refused, WireError
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.call import Call, CallLost
from splitfed.wire.frames import hello_frame, reason_name, unpack
from splitfed.wire.proof import Claim, Numbers, prove
from splitfed.wire.traffic import StreamTraffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import grpc

    from splitfed.wire.limits import Keepalive
    from splitfed.wire.session import Hello

Answer = TypeVar("Answer")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_NUMBERS = Numbers()


class SilentAddresses:
    """Addresses that did not answer in a round; all streams of a client share it, and dial them no more in it."""

    def __init__(self) -> None:
        self._round = 0
        self._addresses: set[str] = set()

    def add(self, address: str, round_: int) -> None:
        """It did not answer in this round. What a stream of an earlier round says counts no more."""
        if round_ < self._round:
            return
        if round_ > self._round:
            self._round, self._addresses = round_, set()
        self._addresses.add(address)

    def without(self, addresses: Sequence[str], round_: int) -> tuple[str, ...]:
        """The addresses to try in this round, in turn; the last one, the server itself, always.

        >>> silent = SilentAddresses()
        >>> silent.add("relay:1", 3)
        >>> silent.without(["relay:1", "server:1"], 3), silent.without(["relay:1", "server:1"], 4)
        (('server:1',), ('relay:1', 'server:1'))
        """
        shunned = self._addresses if round_ == self._round else set()
        return (*(address for address in addresses[:-1] if address not in shunned), addresses[-1])


class ReconnectingStream:
    """A stream to a split server, introduced and accepted when made; see `GrpcLink` for the arguments.

    Raises:
        Refused: the server said no, and why.
        LinkLost: no server answered within the deadline and the retries.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        hello: Hello,
        *,
        deadline_s: float,
        retries: int,
        max_message_bytes: int,
        keepalive: Keepalive,
        credentials: grpc.ChannelCredentials | None,
        silent: SilentAddresses,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        self.traffic = StreamTraffic()
        self._addresses = silent.without(addresses, hello.round)
        self._at = 0
        self._hello = hello
        self._stream = secrets.token_bytes(16)
        self._deadline_s, self._retries = deadline_s, retries
        self._max_message_bytes = max_message_bytes
        self._keepalive = keepalive
        self._credentials = credentials
        self._silent = silent
        self._stopped = stopped
        self._call: Call | None = None
        self._persist(hello.next_step, self._dial)

    def ask(self, step: int, frame: bytes) -> tuple[pb.ServerFrame, memoryview]:
        """The answer to ``frame``, on a new stream from ``step`` on where the old one breaks.

        Raises:
            Refused: the server said no, and why.
            LinkLost: no server answered within the deadline and the retries.
        """
        return self._persist(step, lambda step: self._exchange(self._call or self._dial(step), frame))

    def close(self) -> None:
        """End the stream."""
        if self._call is not None:
            self._call.close()
            self._call = None

    def _persist(self, step: int, attempt: Callable[[int], Answer]) -> Answer:
        last: WireError | None = None
        for again in range(self._retries + 1):
            if self._stopped is not None and self._stopped():
                self.close()
                raise LinkLost(f"{self._hello} step {step}: the run is being stopped")
            if isinstance(last, LinkLost):
                self._turn_to_next(again)
            elif last is not None:
                _pause(again)
            try:
                return attempt(step)
            except CallLost as lost:
                self.close()
                why = f"no answer after {self._retries} retries; last: {lost}"
                last = LinkLost(f"{self._hello} step {step}: {why}")
            except BaseException as error:
                self.close()
                if not (isinstance(error, Refused) and error.reason == "TOO_MANY_STREAMS"):
                    raise
                last = error
        assert last is not None
        raise last

    def _turn_to_next(self, again: int) -> None:
        """The next address at once; the last one again after a pause."""
        if self._at + 1 < len(self._addresses):
            self._silent.add(self._addresses[self._at], self._hello.round)
            self._at += 1
        else:
            _pause(again)

    def _dial(self, step: int) -> Call:
        """A new stream, introduced and accepted."""
        hello = replace(self._hello, next_step=step)
        claim = Claim(hello.run, hello.client, self._stream, _NUMBERS.next())
        call = self._call = Call(
            self._addresses[self._at],
            proof=prove(claim, hello.token),
            deadline_s=self._deadline_s,
            max_message_bytes=self._max_message_bytes,
            keepalive=self._keepalive,
            credentials=self._credentials,
            stopped=self._stopped,
        )
        frame, _ = self._exchange(call, hello_frame(hello, self._stream))
        if not frame.HasField("accept") or frame.accept.next_step not in (step, step + 1):
            raise FrameError(f"{hello}: want Accept at step {step}, got {frame.WhichOneof('body')}")
        return call

    def _exchange(self, call: Call, question: bytes) -> tuple[pb.ServerFrame, memoryview]:
        self.traffic.sent_bytes += len(question)
        answer = call.ask(question)
        self.traffic.received_bytes += len(answer)
        try:
            frame, data = unpack(pb.ServerFrame, answer)
        except CorruptFrame as error:
            raise CallLost(f"{call.address}: {error}") from None
        if frame.HasField("refusal"):
            refusal = Refused(reason_name(frame.refusal.reason), frame.refusal.message)
            # what carries the bytes has damaged them: another way, or another try, may do better
            raise CallLost(f"{call.address}: {refusal}") if refusal.reason == "CORRUPTED" else refusal
        return frame, data


def _pause(again: int) -> None:
    time.sleep(min(_FIRST_PAUSE_S * 2 ** (again - 1), _LONGEST_PAUSE_S))
