"""Turns tensors into bytes and back, with a stated bound on the error."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from splitfed.errors import FrameError

if TYPE_CHECKING:
    from torch import Tensor

_SMALLEST_NORMAL = float(torch.finfo(torch.float32).tiny)
_LARGEST = float(torch.finfo(torch.float32).max)


class TensorSpec(NamedTuple):
    """What a receiver needs to know to read a tensor's bytes.

    Attributes:
        shape: batch first.
        codec: a name in `CODECS`.
        scale: int8 only, the value of one unit; above 0.
        zero_point: int8 only, the stored number that means 0.
    """

    shape: tuple[int, ...]
    codec: str
    scale: float = 0.0
    zero_point: int = 0

    @property
    def numbers(self) -> int:
        """How many numbers the tensor has."""
        return math.prod(self.shape)


class Encoded(NamedTuple):
    """A tensor as bytes: the buffers follow each other on the wire.

    They may alias the tensor's memory; what was received is one buffer.
    """

    spec: TensorSpec
    buffers: tuple[memoryview, ...]

    @property
    def nbytes(self) -> int:
        """Length of all buffers, in bytes."""
        return sum(buffer.nbytes for buffer in self.buffers)

    @property
    def data(self) -> memoryview:
        """All bytes in one piece."""
        return self.buffers[0] if len(self.buffers) == 1 else memoryview(b"".join(self.buffers))


class Codec(ABC):
    """A way to write float32 tensors; `name` is its key in `CODECS`."""

    name: str
    mixes_samples: bool = False
    """Whether a sample's numbers, once decoded, depend on the other samples of its batch."""

    @abstractmethod
    def encode(self, tensor: Tensor) -> Encoded:
        """The bytes of a finite float32 tensor.

        Raises:
            FrameError: a value is out of the codec's range.
        """

    @abstractmethod
    def decode(self, encoded: Encoded) -> Tensor:
        """The float32 tensor that was encoded, in memory of its own.

        Raises:
            FrameError: the bytes are not what their ``spec`` says.
        """

    @abstractmethod
    def most_bytes(self, numbers: int) -> int:
        """The largest payload that so many numbers may take."""

    @abstractmethod
    def error_bound(self, tensor: Tensor) -> float:
        """The largest absolute difference between any number of ``tensor`` and its decoded self."""


class Float32(Codec):
    """4 bytes a number, exact to the bit."""

    name = "float32"

    def encode(self, tensor: Tensor) -> Encoded:
        return Encoded(TensorSpec(tuple(tensor.shape), self.name), (_bytes_of(tensor),))

    def decode(self, encoded: Encoded) -> Tensor:
        spec, data = encoded.spec, encoded.data
        _expect_length(spec, data, 4 * spec.numbers)
        return _tensor_of(data, torch.float32).view(spec.shape)

    def most_bytes(self, numbers: int) -> int:
        return 4 * numbers

    def error_bound(self, tensor: Tensor) -> float:  # noqa: ARG002  exact for every tensor
        return 0.0


class Half(Codec):
    """2 bytes a number: IEEE half (11 significant bits) or bfloat16 (8 of them, the range of float32).

    Rounding to the nearest of p significant bits is off by at most 2^-p of the number, and below the smallest
    normal number by half of the smallest subnormal one.
    """

    def __init__(self, name: str, dtype: torch.dtype, significant_bits: int) -> None:
        self.name = name
        self._dtype = dtype
        self._relative = 2.0**-significant_bits
        self._absolute = float(torch.finfo(dtype).smallest_normal) * 2.0**-significant_bits

    def encode(self, tensor: Tensor) -> Encoded:
        short = tensor.to(self._dtype)
        if not all_finite(short):
            raise FrameError(
                f"{self.name} holds at most ±{torch.finfo(self._dtype).max:g}, the tensor reaches "
                f"{float(tensor.abs().max()):g}; use float32"
            )
        return Encoded(TensorSpec(tuple(tensor.shape), self.name), (_bytes_of(short),))

    def decode(self, encoded: Encoded) -> Tensor:
        spec, data = encoded.spec, encoded.data
        _expect_length(spec, data, 2 * spec.numbers)
        return _tensor_of(data, self._dtype).to(torch.float32).view(spec.shape)

    def most_bytes(self, numbers: int) -> int:
        return 2 * numbers

    def error_bound(self, tensor: Tensor) -> float:
        return float(tensor.abs().max()) * self._relative + self._absolute


class Int8(Codec):
    """1 byte a number: q in [-128, 127] means scale · (q − zero_point), one scale for the whole tensor.

    The range that is covered includes 0, so that 0 stays exactly 0. It is cut into 254 units, not 255: rounding
    both ends may add one, and then no number is clipped and the error stays within half a unit.
    """

    name = "int8"
    mixes_samples = True

    def encode(self, tensor: Tensor) -> Encoded:
        low, high = (float(end) for end in torch.aminmax(tensor))
        scale = self._scale(low, high)
        zero_point = -128 - round(min(low, 0.0) / scale)
        # clamped, as float32 may round an end of the range the other way than the float64 above
        quantized = tensor.div(scale).round_().add_(zero_point).clamp_(-128, 127).to(torch.int8)
        spec = TensorSpec(tuple(tensor.shape), self.name, scale, zero_point)
        return Encoded(spec, (_bytes_of(quantized),))

    def decode(self, encoded: Encoded) -> Tensor:
        spec, data = encoded.spec, encoded.data
        _expect_length(spec, data, spec.numbers)
        if not (_SMALLEST_NORMAL <= spec.scale <= _LARGEST and -128 <= spec.zero_point <= 127):
            raise FrameError(
                f"int8 wants a scale above 0 and a zero point in [-128, 127], got {spec.scale:g} and {spec.zero_point}"
            )
        units = _tensor_of(data, torch.int8).to(torch.float32).sub_(spec.zero_point)
        return units.mul_(spec.scale).view(spec.shape)

    def most_bytes(self, numbers: int) -> int:
        return numbers

    def error_bound(self, tensor: Tensor) -> float:
        low, high = (float(end) for end in torch.aminmax(tensor))
        # besides half a unit: the divisions and products are rounded to float32
        return 0.5 * self._scale(low, high) + 2.0**-22 * max(abs(low), abs(high))

    @staticmethod
    def _scale(low: float, high: float) -> float:
        extent = max(high, 0.0) - min(low, 0.0)
        if extent > _LARGEST:
            raise FrameError(f"int8 spans at most {_LARGEST:g}, the tensor spans {extent:g}; use float32")
        return max(extent / 254, _SMALLEST_NORMAL)


class Sparse(Codec):
    """One bit a number, and 4 bytes for each that is not +0; exact to the bit (−0 counts as a number)."""

    name = "sparse"

    def encode(self, tensor: Tensor) -> Encoded:
        flat = tensor.detach().contiguous().reshape(-1).numpy()
        present = flat.view(np.int32) != 0
        mask = np.packbits(present, bitorder="little")
        spec = TensorSpec(tuple(tensor.shape), self.name)
        return Encoded(spec, (mask.data, flat[present].view(np.uint8).data))

    def decode(self, encoded: Encoded) -> Tensor:
        spec, data = encoded.spec, encoded.data
        mask_bytes = _mask_bytes(spec.numbers)
        _expect_length(spec, data[:mask_bytes], mask_bytes)
        mask = np.frombuffer(data[:mask_bytes], np.uint8)
        present = np.unpackbits(mask, bitorder="little")
        if present[spec.numbers :].any():
            raise FrameError(f"sparse mask of {spec.shape}: bits are set beyond its {spec.numbers} numbers")
        present = present[: spec.numbers].view(bool)
        _expect_length(spec, data, mask_bytes + 4 * int(np.count_nonzero(present)))
        flat = np.zeros(spec.numbers, np.float32)
        flat[present] = np.frombuffer(data[mask_bytes:], np.float32)
        return torch.from_numpy(flat).view(spec.shape)

    def most_bytes(self, numbers: int) -> int:
        return _mask_bytes(numbers) + 4 * numbers

    def error_bound(self, tensor: Tensor) -> float:  # noqa: ARG002  exact for every tensor
        return 0.0


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Float32(),
        Half("float16", torch.float16, 11),
        Half("bfloat16", torch.bfloat16, 8),
        Int8(),
        Sparse(),
    )
}


def _mask_bytes(numbers: int) -> int:
    return (numbers + 7) // 8


def all_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite; one pass over the tensor unless its sum overflows."""
    return math.isfinite(float(tensor.sum(dtype=torch.float32))) or bool(torch.isfinite(tensor).all())


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _tensor_of(data: memoryview, dtype: torch.dtype) -> Tensor:
    # One copy, into memory that torch aligns: kernels may choose their order of summation by alignment, and a
    # tensor from the wire has to give the same bits as one that never left the process. It costs 10 µs for
    # (64, 500) float32, and spares torch's process-wide warning about read-only buffers.
    raw = torch.empty(data.nbytes, dtype=torch.uint8)
    raw.numpy()[:] = np.frombuffer(data, np.uint8)
    return raw.view(dtype)


def _expect_length(spec: TensorSpec, data: memoryview, expected_bytes: int) -> None:
    if data.nbytes != expected_bytes:
        raise FrameError(f"{spec.codec} {spec.shape}: want {expected_bytes} bytes of data, got {data.nbytes}")
