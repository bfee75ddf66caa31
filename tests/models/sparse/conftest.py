"""Images and layers that the tests of sparse coding share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bit-identical repeats are promised for one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def smooth_images(count: int, channels: int, height: int, width: int, *, seed: int = 0) -> Tensor:
    """Images in [0, 1] with structure that atoms can find: blurred noise, float64, (N, C, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, channels, height + 4, width + 4, generator=generator, dtype=torch.float64)
    blurred = torch.nn.functional.avg_pool2d(noise, 5, stride=1)
    low, high = blurred.amin((1, 2, 3), keepdim=True), blurred.amax((1, 2, 3), keepdim=True)
    return (blurred - low) / (high - low)
