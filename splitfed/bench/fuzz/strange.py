"""Batches and gradients in their place that are frames, with one thing or another that no server takes, or hardly any.

Each has the right checksum.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from splitfed.bench.fuzz.host import CLASSES, FEATURES, WIDTH
from splitfed.bench.fuzz.messages import message_class
from splitfed.errors import FrameError
from splitfed.types import Phase
from splitfed.wire.codec import CODECS, Encoded, TensorSpec
from splitfed.wire.frames import backward_frame, forward_frame, read_hello, unpack

if TYPE_CHECKING:
    from random import Random

_CLIENT_FRAME: Any = message_class("ClientFrame")


class Announced(NamedTuple):
    """What a stream's Hello says of the frames that follow.

    Attributes:
        codec: a name in `CODECS`.
        keeps_labels: whether no labels travel.
        in_halves: whether a Backward follows each Forward.
    """

    codec: str = "float32"
    keeps_labels: bool = False
    in_halves: bool = False

    def step_at(self, place: int) -> int:
        """Of the frame in this place, from 1; it is -1 of the Hello's own."""
        return (place - 1) // 2 if self.in_halves else place - 1


def announced(frames: list[bytes]) -> Announced:
    """What these frames begin with, or the usual where that is no Hello any more."""
    with suppress(FrameError, IndexError):
        frame, _ = unpack(_CLIENT_FRAME, frames[0])
        hello = read_hello(frame.hello)
        return Announced(
            hello.codec or "float32", hello.keeps_labels, hello.keeps_labels and hello.phase is Phase.TRAIN
        )
    return Announced()


def strange_forward(rng: Random, frames: list[bytes], at: int) -> bytes:
    """A Forward for this place among ``frames``."""
    begun = announced(frames)
    rows, width = rng.choice((1, 2, 3)), WIDTH
    if rng.random() < 0.3:
        rows, width = rng.choice((0, 1, 2, 900, 4000)), rng.choice((WIDTH, 0, 1, 7))
    labels = torch.full((rows,), rng.choice((0, CLASSES - 1, CLASSES, 2**32 - 1)))
    if rng.random() < 0.3:
        labels = labels.repeat(2)[: rng.choice((0, 1, rows + 1))]
    travel = len(labels) and (not begun.keeps_labels or rng.random() < 0.2)
    tensor = _strange_tensor(rng, begun.codec, (rows, width))
    return forward_frame(_step(rng, begun, at), tensor, labels if travel else None)


def strange_backward(rng: Random, frames: list[bytes], at: int) -> bytes:
    """A Backward for this place among ``frames``; as a rule of the shape of the features that come before."""
    begun = announced(frames)
    shape: tuple[int, ...] = (_rows(frames[:at]) or 1, FEATURES)
    if rng.random() < 0.2:
        shape = (rng.choice((0, 1, 2, 900, 4000)), rng.choice((FEATURES, 0, 1, WIDTH)))
    elif rng.random() < 0.1:
        shape = rng.choice(((), (FEATURES,), (2, FEATURES, 1), (0,), (1,) * 300))
    return backward_frame(_step(rng, begun, at), _strange_tensor(rng, begun.codec, shape))


def _rows(frames: list[bytes]) -> int:
    """How many images the last of these frames has, if it is a batch."""
    with suppress(FrameError, IndexError):
        return int(unpack(_CLIENT_FRAME, frames[-1])[0].forward.tensor.shape[0])
    return 0


def _step(rng: Random, begun: Announced, at: int) -> int:
    step = begun.step_at(at)
    return step if step >= 0 and rng.random() < 0.8 else rng.choice((0, 1, 2, 2**32 - 1))


def _strange_tensor(rng: Random, codec: str, shape: tuple[int, ...]) -> Encoded:
    codec = codec if rng.random() < 0.8 else rng.choice(list(CODECS))
    tensor = torch.ones(shape)
    spec, buffers = CODECS[codec].encode(tensor) if tensor.numel() else (TensorSpec(shape, codec), ())
    data = bytearray(b"".join(buffers))
    if data and rng.random() < 0.4:  # NaN or infinity in most codecs
        at_byte = rng.randrange(0, len(data), 4)
        odd = rng.choice((b"\xff\xff\xff\xff", b"\x00\x00\x80\x7f", b"\x00\x7c", b"\x80\x7f"))
        data[at_byte : at_byte + len(odd)] = odd
    if rng.random() < 0.2:
        scale = rng.choice((0.0, -1.0, math.nan, math.inf, 1e38, 1e300, 5e-324))
        spec = spec._replace(scale=scale, zero_point=rng.choice((0, -(2**31), 2**31 - 1)))
    return Encoded(spec, (memoryview(data),))
