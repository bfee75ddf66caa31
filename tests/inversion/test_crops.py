"""Random crops repeat under a seed, and disturb no other draw."""

from __future__ import annotations

import torch

from splitfed.inversion.crops import Crops
from splitfed.types import ImageShape

SHAPE = ImageShape(1, 12, 10)
PIXELS = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def crop(seed: int, **options: object) -> torch.Tensor:
    given = {"scale": (0.5, 0.9), "ratio": (0.8, 1.2), "flip": 0.5, **options}
    return Crops(SHAPE, **given)(PIXELS, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


def test_shape_and_range_stay() -> None:
    for seed in range(20):
        assert crop(seed).shape == PIXELS.shape
        assert 0 <= float(crop(seed).min()) <= float(crop(seed).max()) <= 1


def test_a_seed_gives_the_same_crop_and_another_another() -> None:
    assert torch.equal(crop(1), crop(1))
    assert len({crop(seed).sum().item() for seed in range(10)}) > 5


def test_the_generator_of_the_process_is_left_alone() -> None:
    torch.manual_seed(3)
    first = torch.rand(4)
    torch.manual_seed(3)
    crop(1)
    assert torch.equal(torch.rand(4), first)


def test_all_of_an_image_is_itself() -> None:
    whole = crop(1, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    torch.testing.assert_close(whole, PIXELS)
    torch.testing.assert_close(crop(1, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0), PIXELS.flip(-1))


def test_it_is_differentiable() -> None:
    pixels = PIXELS.clone().requires_grad_()
    crops = Crops(SHAPE, (0.5, 0.9), (0.8, 1.2))
    (gradient,) = torch.autograd.grad(crops(pixels, torch.Generator().manual_seed(0)).sum(), [pixels])
    assert float(gradient.abs().sum()) > 0
