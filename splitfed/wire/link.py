"""The client's end of the wire: a `Link` takes activations to the session that answers them.

`GrpcLink` crosses a network and survives the loss of what lies between, `DirectLink` calls the session.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import torch

from splitfed.errors import FrameError, LinkLost, Refused
from splitfed.types import Phase
from splitfed.wire import limits
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.call import Call, CallLost
from splitfed.wire.checks import check_labels, check_result
from splitfed.wire.codec import CODECS, Encoded, all_finite
from splitfed.wire.frames import (
    done_frame,
    forward_frame,
    hello_frame,
    read_spec,
    read_tensor,
    reason_name,
    unpack,
)
from splitfed.wire.session import StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import grpc
    from torch import Tensor

    from splitfed.wire.session import Hello, SessionHost

Answer = TypeVar("Answer")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class Link(Protocol):
    """A client's way to its session; a context manager.

    ``sent_bytes`` and ``received_bytes`` count whole frames, with those that had to be sent again.
    """

    sent_bytes: int
    received_bytes: int

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """What the session makes of one batch.

        Args:
            step: 0 at first, one more each time.
            activation: float32, (B, *shape).
            labels: int64, (B,), or None where they stay with the client.

        Raises:
            FrameError: the activation is not finite or not of the announced shape; nothing was sent.
            Refused: the server said no, and why.
            LinkLost: no server answered within the deadline and the retries.
        """

    def done(self, steps: int, examples: int) -> None:
        """Tell the session that these were all."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class GrpcLink:
    """A stream to a split server that is dialled again where it breaks; connected when made.

    A broken stream goes on at the next address, and at the last one again and again. The server makes sure that
    a step which it had applied before the break is not applied twice.

    Args:
        addresses: ``host:port``, first choice first; the last one should be the server itself.
        hello: who opens the stream, and for what.
        deadline_s: how long an answer may take.
        retries: how often one question is asked again before the link counts as lost.
        max_message_bytes: the largest frame in either direction.
        credentials: for TLS; without, the wire is in clear and a tap can read it.

    Raises:
        Refused: the server said no, and why.
        LinkLost: no server answered within the deadline and the retries.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        hello: Hello,
        *,
        deadline_s: float = 60.0,
        retries: int = 5,
        max_message_bytes: int = limits.MAX_MESSAGE_BYTES,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self.sent_bytes = self.received_bytes = 0
        self._addresses = tuple(addresses)
        self._at = 0
        self._hello = hello
        self._stream = secrets.token_bytes(16)
        self._deadline_s, self._retries = deadline_s, retries
        self._max_message_bytes = max_message_bytes
        self._credentials = credentials
        self._call: Call | None = None
        self._persist(hello.next_step, self._dial)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the stream."""
        if self._call is not None:
            self._call.close()
            self._call = None

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """What the session makes of one batch; see `Link.forward`."""
        encoded = encode(self._hello, step, activation, labels)
        frame, data = self._ask(step, forward_frame(step, encoded, labels))
        if not frame.HasField("gradient") or frame.gradient.step != step:
            raise FrameError(f"{self._hello}: want the gradient of step {step}, got {frame.WhichOneof('body')}")
        return self._result(frame.gradient, data, tuple(activation.shape))

    def done(self, steps: int, examples: int) -> None:
        """Tell the session that these were all."""
        frame, _ = self._ask(steps, done_frame(steps, examples))
        if not frame.HasField("finished"):
            raise FrameError(f"{self._hello}: want Finished, got {frame.WhichOneof('body')}")

    def _result(self, message: pb.Gradient, data: memoryview, shape: tuple[int, ...]) -> StepResult:
        if not message.HasField("tensor"):
            if self._hello.phase is Phase.TRAIN:
                raise FrameError(f"{self._hello} step {message.step}: the gradient is missing")
            return StepResult(message.loss, message.correct, None)
        spec = read_spec(message.tensor)
        if spec.shape != shape:
            raise FrameError(f"{self._hello} step {message.step}: want a gradient {shape}, got {spec.shape}")
        return StepResult(message.loss, message.correct, read_tensor(spec, data))

    def _ask(self, step: int, frame: bytes) -> tuple[pb.ServerFrame, memoryview]:
        """The answer to ``frame``, on a new stream from ``step`` on where the old one breaks."""
        if len(frame) > self._max_message_bytes:
            raise FrameError(
                f"{self._hello} step {step}: a frame of {len(frame)} bytes; at most {self._max_message_bytes} "
                f"are allowed; use smaller batches"
            )
        return self._persist(step, lambda step: self._exchange(self._call or self._dial(step), frame))

    def _persist(self, step: int, attempt: Callable[[int], Answer]) -> Answer:
        losses = []
        for again in range(self._retries + 1):
            try:
                return attempt(step)
            except CallLost as lost:
                losses.append(str(lost))
                self.close()
                if again < self._retries:
                    self._turn_to_next(again)
            except BaseException:
                self.close()
                raise
        raise LinkLost(f"{self._hello} step {step}: no answer after {self._retries} retries; last: {losses[-1]}")

    def _turn_to_next(self, again: int) -> None:
        """The next address at once; the last one again after a pause."""
        if self._at + 1 < len(self._addresses):
            self._at += 1
        else:
            time.sleep(min(_FIRST_PAUSE_S * 2**again, _LONGEST_PAUSE_S))

    def _dial(self, step: int) -> Call:
        """A new stream, introduced and accepted."""
        call = self._call = Call(
            self._addresses[self._at],
            deadline_s=self._deadline_s,
            max_message_bytes=self._max_message_bytes,
            credentials=self._credentials,
        )
        hello = replace(self._hello, next_step=step)
        frame, _ = self._exchange(call, hello_frame(hello, self._stream))
        if not frame.HasField("accept") or frame.accept.next_step not in (step, step + 1):
            raise FrameError(f"{hello}: want Accept at step {step}, got {frame.WhichOneof('body')}")
        return call

    def _exchange(self, call: Call, question: bytes) -> tuple[pb.ServerFrame, memoryview]:
        self.sent_bytes += len(question)
        answer = call.ask(question)
        self.received_bytes += len(answer)
        frame, data = unpack(pb.ServerFrame, answer)
        if frame.HasField("refusal"):
            raise Refused(reason_name(frame.refusal.reason), frame.refusal.message)
        return frame, data


class DirectLink:
    """No wire at all: the session is called in this process, on what its codec would have delivered.

    Raises:
        Refused: the host said no, and why.
    """

    sent_bytes = 0
    received_bytes = 0

    def __init__(self, host: SessionHost, hello: Hello) -> None:
        self._hello = hello
        self._classes = host.classes
        self._session = host.open(hello)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """What the session makes of one batch; see `Link.forward`."""
        received = _delivered(encode(self._hello, step, activation, labels))
        if labels is not None:
            check_labels(self._hello, step, labels, len(activation), self._classes)
        result = self._session.forward(step, received, labels)
        check_result(self._hello, step, result)
        if self._hello.phase is Phase.TRAIN:
            self._session.update()
        if result.gradient is None:
            return result
        gradient = _delivered(CODECS[self._hello.codec].encode(result.gradient.detach()))
        return result._replace(gradient=gradient)

    def done(self, steps: int, examples: int) -> None:
        """Tell the session that these were all."""
        self._session.finish(steps, examples)


def encode(hello: Hello, step: int, activation: Tensor, labels: Tensor | None) -> Encoded:
    """An activation as its codec writes it, if it may be sent at all.

    Raises:
        FrameError: wrong shape or dtype, a NaN or an infinity, a negative label.
    """
    activation = activation.detach()
    if problem := _problem(hello, activation, labels):
        raise FrameError(f"{hello} step {step}: {problem}")
    return CODECS[hello.codec].encode(activation)


def _problem(hello: Hello, activation: Tensor, labels: Tensor | None) -> str | None:
    """Why this batch may not be sent, or None."""
    if tuple(activation.shape[1:]) != hello.shape or activation.dtype is not torch.float32:
        want = ", ".join(["B", *map(str, hello.shape)])
        return f"want an activation ({want}) float32, got {tuple(activation.shape)} {activation.dtype}"
    if not all_finite(activation):
        return "the activation has a NaN or an infinity; it was not sent"
    if labels is not None and int(labels.min()) < 0:
        return f"a label is {int(labels.min())}; labels start at 0"
    return None


def _delivered(encoded: Encoded) -> Tensor:
    return CODECS[encoded.spec.codec].decode(encoded)
