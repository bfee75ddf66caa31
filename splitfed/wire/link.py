"""The client's end of the wire: a `Link` takes activations to the session that answers them.

`GrpcLink` crosses a network and survives the loss of what lies between, `DirectLink` calls the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from splitfed.errors import FrameError
from splitfed.types import Phase
from splitfed.wire import limits
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.checks import check_finite, check_labels, check_result
from splitfed.wire.codec import CODECS, Encoded
from splitfed.wire.frames import backward_frame, done_frame, forward_frame, read_spec, read_tensor
from splitfed.wire.outgoing import encode, encode_gradient
from splitfed.wire.reconnecting_stream import ReconnectingStream, SilentAddresses
from splitfed.wire.session import FeatureSession, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import grpc
    from torch import Tensor

    from splitfed.wire.session import Hello, SessionHost


class Link(Protocol):
    """A client's way to its session; a context manager.

    Its byte counts are of whole frames, with those that had to be sent again.
    """

    @property
    def sent_bytes(self) -> int:
        """Bytes of the frames sent."""

    @property
    def received_bytes(self) -> int:
        """Bytes of the frames received."""

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

    def features(self, step: int, activation: Tensor) -> Tensor:
        """What the server's layers make of one batch, (B, d), where labels stay with the client.

        Args:
            step: 0 at first, one more each time.
            activation: float32, (B, *shape).

        Raises:
            FrameError, Refused, LinkLost: as `forward`.
        """

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        """The gradient by the activation, from that by the features of this step, of their shape; only in TRAIN.

        Raises:
            FrameError, Refused, LinkLost: as `forward`.
        """

    def done(self, steps: int, examples: int) -> None:
        """Tell the session that these were all."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class GrpcLink:
    """A stream to a split server that is dialed again where it breaks; connected when made.

    A broken stream goes on at the next address, and at the last one again and again, as does one for which the
    server has no place. The server makes sure that a step which it had applied before the break is not applied twice.

    Args:
        addresses: ``host:port``, first choice first; the last one should be the server itself.
        hello: who opens the stream, for what, and with which token.
        deadline_s: how long an answer may take.
        retries: how often one question is asked again before the link counts as lost.
        max_message_bytes: the largest frame in either direction.
        keepalive: how soon a frozen peer is noticed.
        credentials: for TLS (`tls.TlsFiles`); without, the wire is in clear and a tap can read it.
        silent: the addresses that do not answer, shared by the streams of a client.
        stopped: asked before each attempt, and every second of a wait: once true, the link is lost.

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
        keepalive: limits.Keepalive = limits.KEEPALIVE,
        credentials: grpc.ChannelCredentials | None = None,
        silent: SilentAddresses | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> None:
        self._hello = hello
        self._max_message_bytes = max_message_bytes
        self._line = ReconnectingStream(
            addresses,
            hello,
            deadline_s=deadline_s,
            retries=retries,
            max_message_bytes=max_message_bytes,
            keepalive=keepalive,
            credentials=credentials,
            silent=silent or SilentAddresses(),
            stopped=stopped,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sent_bytes(self) -> int:
        """Bytes of the frames sent."""
        return self._line.traffic.sent_bytes

    @property
    def received_bytes(self) -> int:
        """Bytes of the frames received."""
        return self._line.traffic.received_bytes

    def close(self) -> None:
        """End the stream."""
        self._line.close()

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """What the session makes of one batch; see `Link.forward`."""
        encoded = encode(self._hello, step, activation, labels)
        frame, data = self._ask(step, forward_frame(step, encoded, labels))
        if not frame.HasField("gradient") or frame.gradient.step != step:
            raise FrameError(f"{self._hello}: want the gradient of step {step}, got {frame.WhichOneof('body')}")
        return self._result(frame.gradient, data, tuple(activation.shape))

    def features(self, step: int, activation: Tensor) -> Tensor:
        """What the server's layers make of one batch; see `Link.features`."""
        encoded = encode(self._hello, step, activation, None)
        frame, data = self._ask(step, forward_frame(step, encoded, None))
        if not frame.HasField("features") or frame.features.step != step:
            raise FrameError(f"{self._hello}: want the features of step {step}, got {frame.WhichOneof('body')}")
        spec = read_spec(frame.features.tensor)
        if len(spec.shape) != 2 or spec.shape[0] != len(activation):
            raise FrameError(f"{self._hello} step {step}: want features ({len(activation)}, d), got {spec.shape}")
        return read_tensor(spec, data)

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        """The gradient by the activation; see `Link.backward`."""
        encoded = encode_gradient(self._hello, step, gradient)
        frame, data = self._ask(step, backward_frame(step, encoded))
        if not frame.HasField("gradient") or frame.gradient.step != step:
            raise FrameError(f"{self._hello}: want the gradient of step {step}, got {frame.WhichOneof('body')}")
        result = self._result(frame.gradient, data, (len(gradient), *self._hello.shape))
        assert result.gradient is not None
        return result.gradient

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
        if len(frame) > self._max_message_bytes:
            raise FrameError(
                f"{self._hello} step {step}: a frame of {len(frame)} bytes; at most {self._max_message_bytes} "
                f"are allowed; use smaller batches"
            )
        return self._line.ask(step, frame)


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
        assert not isinstance(self._session, FeatureSession)
        result = self._session.forward(step, received, labels)
        check_result(self._hello, step, result)
        if self._hello.phase is Phase.TRAIN:
            self._session.update()
        if result.gradient is None:
            return result
        return result._replace(gradient=self._sent_back(step, result.gradient))

    def features(self, step: int, activation: Tensor) -> Tensor:
        """What the server's layers make of one batch; see `Link.features`."""
        received = _delivered(encode(self._hello, step, activation, None))
        return self._sent_back(step, self._feature_session().features(step, received))

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        """The gradient by the activation; see `Link.backward`."""
        session = self._feature_session()
        found = session.backward(step, _delivered(encode_gradient(self._hello, step, gradient)))
        check_finite(self._hello, step, found)
        session.update()
        return self._sent_back(step, found)

    def _feature_session(self) -> FeatureSession:
        assert isinstance(self._session, FeatureSession)
        return self._session

    def _sent_back(self, step: int, tensor: Tensor) -> Tensor:
        check_finite(self._hello, step, tensor)
        return _delivered(CODECS[self._hello.codec].encode(tensor.detach()))

    def done(self, steps: int, examples: int) -> None:
        """Tell the session that these were all."""
        self._session.finish(steps, examples)


def _delivered(encoded: Encoded) -> Tensor:
    return CODECS[encoded.spec.codec].decode(encoded)
