"""What the server accepts: each frame becomes checked values, or a refusal that says why not.

The tap judges by the same rules, so that it observes what the server takes and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splitfed.errors import FrameError, Refused
from splitfed.types import Phase
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.codec import CODECS, all_finite
from splitfed.wire.frames import read_hello, read_labels, read_spec, read_tensor, unpack
from splitfed.wire.limits import MAX_HELLO_BYTES, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from torch import Tensor

    from splitfed.wire.codec import TensorSpec
    from splitfed.wire.session import Hello, StepResult

_MAX_RUN_LENGTH = 128
_FEATURE_DIMENSIONS = 2


@dataclass(frozen=True)
class StreamRules:
    """What every stream of a server has to keep to.

    Attributes:
        classes: labels are below this; None where it is not known.
        max_message_bytes: the largest frame, and the largest tensor once decoded.
    """

    classes: int | None
    max_message_bytes: int = MAX_MESSAGE_BYTES

    def check_size(self, raw: bytes) -> None:
        """Refuse a frame that is too large."""
        if len(raw) > self.max_message_bytes:
            raise Refused("OVERSIZED", f"a frame: want at most {self.max_message_bytes} bytes, got {len(raw)}")

    def introduction(self, raw: bytes) -> tuple[Hello, bytes]:
        """Who opens the stream, and the stream's name.

        Raises:
            Refused: no Hello, one that is too large, or an unknown codec.
            FrameError: no frame, or no name.
        """
        if len(raw) > MAX_HELLO_BYTES:
            raise Refused("OVERSIZED", f"the first frame: want at most {MAX_HELLO_BYTES} bytes, got {len(raw)}")
        frame, _ = unpack(pb.ClientFrame, raw)
        if not frame.HasField("hello"):
            raise Refused("OUT_OF_ORDER", f"want Hello first, got {frame.WhichOneof('body')}")
        hello = read_hello(frame.hello)
        if not hello.codec:
            raise Refused("UNKNOWN_CODEC", f"{hello} Hello: want one of {', '.join(CODECS)}")
        if not (frame.hello.stream and 0 < len(hello.run) <= _MAX_RUN_LENGTH):
            raise FrameError(f"Hello: want a stream and a run of 1 to {_MAX_RUN_LENGTH} characters")
        return hello, frame.hello.stream

    def batch(self, hello: Hello, message: pb.Forward, data: memoryview) -> tuple[Tensor, Tensor | None]:
        """Activation and labels of one batch.

        Raises:
            Refused: it is not what ``hello`` announced, not finite, too large, or its labels do not fit.
        """
        dimensions = len(message.tensor.shape)  # counted before they are copied: there may be millions
        if dimensions != 1 + len(hello.shape):
            why = f"want a batch of {hello.shape}, got {dimensions} dimensions"
            raise refusal("WRONG_SHAPE", hello, message.step, why)
        spec = read_spec(message.tensor)
        self._check_codec(hello, message.step, spec)
        if spec.shape[1:] != hello.shape or spec.shape[0] == 0:
            want = ", ".join(["B ≥ 1", *map(str, hello.shape)])
            raise refusal("WRONG_SHAPE", hello, message.step, f"want ({want}), got {spec.shape}")
        activation = self._tensor(hello, message.step, spec, data)
        if message.labels:
            _check_count(hello, message.step, len(message.labels), spec.shape[0])
        labels = read_labels(message)
        if labels is not None:
            check_labels(hello, message.step, labels, spec.shape[0], self.classes)
        return activation, labels

    def gradient(self, hello: Hello, message: pb.Backward, data: memoryview) -> Tensor:
        """The gradient by the features of a batch; that it has their shape is not checked here.

        Raises:
            Refused: this stream has no use for one, or it is not what ``hello`` announced, not finite, or too large.
        """
        if not hello.keeps_labels or hello.phase is not Phase.TRAIN:
            raise refusal(
                "OUT_OF_ORDER", hello, message.step, "a Backward belongs into TRAIN, where labels do not travel"
            )
        dimensions = len(message.tensor.shape)  # counted before they are copied
        if dimensions != _FEATURE_DIMENSIONS:
            why = f"want a gradient by (B, d) features, got {dimensions} dimensions"
            raise refusal("WRONG_SHAPE", hello, message.step, why)
        spec = read_spec(message.tensor)
        self._check_codec(hello, message.step, spec)
        return self._tensor(hello, message.step, spec, data)

    def _tensor(self, hello: Hello, step: int, spec: TensorSpec, data: memoryview) -> Tensor:
        self._check_size(hello, step, spec)
        try:
            tensor = read_tensor(spec, data)
        except FrameError as error:
            raise refusal("GARBLED", hello, step, str(error)) from None
        if not all_finite(tensor):
            raise refusal("NOT_FINITE", hello, step, "a number is NaN or infinite")
        return tensor

    def _check_codec(self, hello: Hello, step: int, spec: TensorSpec) -> None:
        if spec.codec != hello.codec:
            got = spec.codec or "an unknown one"
            raise refusal("WRONG_CODEC", hello, step, f"want {hello.codec} as announced, got {got}")

    def _check_size(self, hello: Hello, step: int, spec: TensorSpec) -> None:
        if 4 * spec.numbers > self.max_message_bytes:
            why = f"want at most {self.max_message_bytes} bytes, {spec.shape} takes {4 * spec.numbers}"
            raise refusal("OVERSIZED", hello, step, why)


def check_step(hello: Hello, step: int, *, next_step: int) -> None:
    """Refuse a Forward that is neither ``next_step`` nor the one before, of which the answer may have been lost.

    Raises:
        Refused: OUT_OF_ORDER.
    """
    if step not in (next_step, next_step - 1):
        raise refusal("OUT_OF_ORDER", hello, step, f"want step {next_step}, got {step}")


def check_labels(hello: Hello, step: int, labels: Tensor, batch: int, classes: int | None) -> None:
    """Refuse labels that are not one class per image, and any where ``hello`` says that they stay with the client.

    Raises:
        Refused: BAD_LABELS.
    """
    if hello.keeps_labels:
        why = f"its Hello says that labels stay with the client, and here are {len(labels)}"
        raise refusal("BAD_LABELS", hello, step, why)
    _check_count(hello, step, len(labels), batch)
    highest = int(labels.max())
    if classes is not None and highest >= classes:
        raise refusal("BAD_LABELS", hello, step, f"want labels below {classes}, got {highest}")


def _check_count(hello: Hello, step: int, labels: int, batch: int) -> None:
    if labels != batch:
        raise refusal("BAD_LABELS", hello, step, f"want {batch} labels, got {labels}")


def check_result(hello: Hello, step: int, result: StepResult) -> None:
    """Refuse to go on with a training that has diverged.

    Raises:
        Refused: NOT_FINITE.
    """
    if not is_finite(result):
        why = f"training diverged, the loss is {result.loss:g}; lower the learning rate"
        raise refusal("NOT_FINITE", hello, step, why)


def check_finite(hello: Hello, step: int, tensor: Tensor) -> None:
    """Refuse to send numbers of a training that has diverged.

    Raises:
        Refused: NOT_FINITE.
    """
    if not all_finite(tensor.detach()):
        raise refusal("NOT_FINITE", hello, step, "training diverged, my answer is not finite; lower the learning rate")


def is_finite(result: StepResult) -> bool:
    """Whether loss and gradient are finite numbers."""
    return math.isfinite(result.loss) and (result.gradient is None or all_finite(result.gradient.detach()))


def refusal(reason: str, hello: Hello, step: int, why: str) -> Refused:
    """A refusal that says which client's step it is about."""
    return Refused(reason, f"{hello} step {step}: {why}")
