"""What a server answers to a batch, as frames: nothing that is not finite, or that the codec cannot hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitfed.errors import FrameError
from splitfed.wire.checks import check_finite, check_result, refusal
from splitfed.wire.codec import CODECS
from splitfed.wire.frames import features_frame, gradient_frame

if TYPE_CHECKING:
    from torch import Tensor

    from splitfed.wire.codec import Encoded
    from splitfed.wire.session import Hello, StepResult


def answer_to_batch(hello: Hello, step: int, result: StepResult) -> bytes:
    """The frame that says what became of a batch.

    Raises:
        Refused: loss or gradient are not finite, or out of the codec's range.
    """
    check_result(hello, step, result)
    encoded = None if result.gradient is None else _encoded(hello, step, result.gradient)
    return gradient_frame(step, result.loss, result.correct, encoded)


def answer_with_features(hello: Hello, step: int, features: Tensor) -> bytes:
    """The frame with what the server's layers make of a batch.

    Raises:
        Refused: it is not finite, or out of the codec's range.
    """
    return features_frame(step, _encoded(hello, step, features))


def answer_to_gradient(hello: Hello, step: int, gradient: Tensor) -> bytes:
    """The frame with the gradient by the activation, where the client knows loss and correct images itself.

    Raises:
        Refused: it is not finite, or out of the codec's range.
    """
    return gradient_frame(step, 0.0, 0, _encoded(hello, step, gradient))


def _encoded(hello: Hello, step: int, tensor: Tensor) -> Encoded:
    check_finite(hello, step, tensor)
    try:
        return CODECS[hello.codec].encode(tensor.detach())
    except FrameError as error:
        raise refusal("NOT_FINITE", hello, step, f"the answer does not fit: {error}") from None
