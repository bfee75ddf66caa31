"""What the server accepts: each frame becomes checked values, or a refusal that says why not.

The tap judges by the same rules, so that it observes what the server takes and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splitfed.errors import FrameError, Refused
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.codec import CODECS, all_finite
from splitfed.wire.frames import read_hello, read_labels, read_spec, read_tensor, unpack
from splitfed.wire.limits import MAX_HELLO_BYTES, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from torch import Tensor

    from splitfed.wire.codec import TensorSpec
    from splitfed.wire.session import Hello, StepResult

_MAX_RUN_LENGTH = 128


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
        spec = read_spec(message.tensor)
        self._check_spec(hello, message.step, spec)
        try:
            activation = read_tensor(spec, data)
        except FrameError as error:
            raise refusal("GARBLED", hello, message.step, str(error)) from None
        if not all_finite(activation):
            raise refusal("NOT_FINITE", hello, message.step, "a number is NaN or infinite")
        labels = read_labels(message)
        if labels is not None:
            check_labels(hello, message.step, labels, spec.shape[0], self.classes)
        return activation, labels

    def _check_spec(self, hello: Hello, step: int, spec: TensorSpec) -> None:
        if spec.codec != hello.codec:
            got = spec.codec or "an unknown one"
            raise refusal("WRONG_CODEC", hello, step, f"want {hello.codec} as announced, got {got}")
        if spec.shape[1:] != hello.shape or spec.shape[:1] in ((), (0,)):
            want = ", ".join(["B ≥ 1", *map(str, hello.shape)])
            raise refusal("WRONG_SHAPE", hello, step, f"want ({want}), got {spec.shape}")
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
    """Refuse labels that are not one class per image.

    Raises:
        Refused: BAD_LABELS.
    """
    if len(labels) != batch:
        raise refusal("BAD_LABELS", hello, step, f"want {batch} labels, got {len(labels)}")
    highest = int(labels.max())
    if classes is not None and highest >= classes:
        raise refusal("BAD_LABELS", hello, step, f"want labels below {classes}, got {highest}")


def check_result(hello: Hello, step: int, result: StepResult) -> None:
    """Refuse to go on with a training that has diverged.

    Raises:
        Refused: NOT_FINITE.
    """
    if not is_finite(result):
        why = f"training diverged, the loss is {result.loss:g}; lower the learning rate"
        raise refusal("NOT_FINITE", hello, step, why)


def is_finite(result: StepResult) -> bool:
    """Whether loss and gradient are finite numbers."""
    return math.isfinite(result.loss) and (result.gradient is None or all_finite(result.gradient.detach()))


def refusal(reason: str, hello: Hello, step: int, why: str) -> Refused:
    """A refusal that says which client's step it is about."""
    return Refused(reason, f"{hello} step {step}: {why}")
