"""Resizing is torchvision's, which is Pillow's byte for byte; cropping to a square is ours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from splitfed.data.decode import center_square, resize


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (28, 28), (8, 8), (178, 218), (31, 57), (100, 20)])
@pytest.mark.parametrize("size", [8, 28, 32, 97])
def test_a_resized_image_is_pillows_byte_for_byte(mode: str, width: int, height: int, size: int) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    square = image.crop((left, top, left + edge, top + edge))
    expected = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    found = resize(image, size)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected[None] if mode == "L" else expected.transpose(2, 0, 1))


def test_of_two_middles_it_is_the_upper_left_one() -> None:
    image = Image.fromarray(np.arange(7, dtype=np.uint8)[None].repeat(4, axis=0))
    assert np.asarray(center_square(image, 4))[0].tolist() == [1, 2, 3, 4]  # torchvision's center_crop begins at 2
