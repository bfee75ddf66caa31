"""Each codec keeps shape and dtype, and its error stays within the bound that it states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from splitfed.errors import FrameError
from splitfed.wire.codec import CODECS, Codec, Encoded

EXACT = ("float32", "sparse")
codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))


def finite_tensors(largest: float) -> st.SearchStrategy[Tensor]:
    """Float32 tensors with a batch, of any scale up to ``largest``, zeros and subnormals among them."""
    shapes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)
    numbers = st.floats(-largest, largest, width=32)
    return hnp.arrays(np.float32, shapes, elements=numbers).map(torch.from_numpy)


@codecs
@given(tensor=finite_tensors(60000.0))
def test_error_stays_within_the_stated_bound(codec: Codec, tensor: Tensor) -> None:
    decoded = codec.decode(codec.encode(tensor))
    assert decoded.shape == tensor.shape
    assert decoded.dtype is torch.float32
    assert float((decoded.double() - tensor.double()).abs().max()) <= codec.error_bound(tensor)


@pytest.mark.parametrize("name", EXACT)
@given(tensor=finite_tensors(float(np.finfo(np.float32).max)))
def test_exact_codecs_keep_every_bit(name: str, tensor: Tensor) -> None:
    codec = CODECS[name]
    decoded = codec.decode(codec.encode(tensor))
    assert torch.equal(decoded.view(torch.int32), tensor.view(torch.int32))
    assert codec.error_bound(tensor) == 0


@codecs
@given(tensor=finite_tensors(2.0**100))
def test_int8_and_bfloat16_reach_far_and_float16_says_when_it_does_not(codec: Codec, tensor: Tensor) -> None:
    if codec.name == "float16" and float(tensor.abs().max()) >= 65520:
        with pytest.raises(FrameError, match="float16 holds at most ±65504"):
            codec.encode(tensor)
    else:
        decoded = codec.decode(codec.encode(tensor))
        assert float((decoded.double() - tensor.double()).abs().max()) <= codec.error_bound(tensor)


@codecs
@given(tensor=finite_tensors(60000.0))
def test_no_payload_is_larger_than_stated_and_one_without_zeros_is_as_large(codec: Codec, tensor: Tensor) -> None:
    assert codec.encode(tensor).nbytes <= codec.most_bytes(tensor.numel())
    assert codec.encode(torch.ones_like(tensor)).nbytes == codec.most_bytes(tensor.numel())


@codecs
def test_zero_stays_exactly_zero(codec: Codec) -> None:
    tensor = torch.tensor([[0.0, 3.7, -1.2], [0.0, 0.0, 9.1]])
    assert torch.equal(codec.decode(codec.encode(tensor)) == 0, tensor == 0)


@codecs
def test_decoded_memory_is_its_own(codec: Codec) -> None:
    tensor = torch.rand(3, 5)
    before = tensor.clone()
    codec.decode(codec.encode(tensor)).add_(1)
    assert torch.equal(tensor, before)


@codecs
def test_bytes_follow_from_the_shape(codec: Codec) -> None:
    tensor = torch.rand(4, 10).add_(0.1)
    tensor[:2] = 0
    expected = {"float32": 160, "float16": 80, "bfloat16": 80, "int8": 40, "sparse": 5 + 4 * 20}
    assert codec.encode(tensor).nbytes == expected[codec.name]


@codecs
@pytest.mark.parametrize("change", [-1, 1])
def test_data_of_another_length_is_no_tensor(codec: Codec, change: int) -> None:
    encoded = codec.encode(torch.rand(4, 10))
    data = bytes(encoded.data)
    wrong = data[:change] if change < 0 else data + b"\0"
    with pytest.raises(FrameError, match=r"want .* bytes of data"):
        codec.decode(Encoded(encoded.spec, (memoryview(wrong),)))


def test_a_sparse_mask_must_not_point_beyond_its_tensor() -> None:
    codec = CODECS["sparse"]
    encoded = codec.encode(torch.zeros(1, 3))
    with pytest.raises(FrameError, match="beyond its 3 numbers"):
        codec.decode(Encoded(encoded.spec, (memoryview(b"\x08" + bytes(4)),)))


@pytest.mark.parametrize(("scale", "zero_point"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (1.0, 128)])
def test_int8_refuses_a_scale_that_means_nothing(scale: float, zero_point: int) -> None:
    codec = CODECS["int8"]
    encoded = codec.encode(torch.rand(2, 2))
    spec = encoded.spec._replace(scale=scale, zero_point=zero_point)
    with pytest.raises(FrameError, match="scale above 0"):
        codec.decode(Encoded(spec, encoded.buffers))


def test_int8_says_when_a_tensor_spans_too_much() -> None:
    with pytest.raises(FrameError, match="spans"):
        CODECS["int8"].encode(torch.tensor([[-3e38, 3e38]]))
