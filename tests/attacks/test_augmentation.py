"""What an attack learns from besides its own images."""

from __future__ import annotations

import pytest
import torch

from splitfed.attacks import build
from splitfed.attacks.augmentation import augment
from splitfed.types import Knowledge
from tests.attacks.worlds import world


@pytest.mark.parametrize("shape", [(60, 1, 8, 8), (60, 3, 28, 20)])
def test_each_copy_is_its_image_mirrored_and_shifted(shape: tuple[int, ...]) -> None:
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    copies = augment(pixels, torch.Generator().manual_seed(1))
    assert copies.shape == pixels.shape
    for copy, image in zip(copies, pixels, strict=True):
        assert torch.isin(copy, image).all()
        inside = copy[:, 4:-4, 4:-4] if shape[-1] > 8 else copy[:, 3:-3, 3:-3]
        places = [
            torch.roll(turned, (down, right), (1, 2))
            for turned in (image, image.flip(-1))
            for down in range(-2, 3)
            for right in range(-2, 3)
        ]
        margin = (copy.shape[1] - inside.shape[1]) // 2
        assert any(torch.equal(inside, p[:, margin:-margin, margin:-margin]) for p in places)


def test_about_a_quarter_stays_as_it_is_and_the_draw_repeats() -> None:
    pixels = torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (augment(pixels, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    unmoved = (first == pixels).flatten(1).all(dim=1).float().mean()
    assert 0.2 < unmoved < 0.4  # 1/2 unmirrored times 1/2 + 1/2 · 1/9 unshifted


@pytest.mark.parametrize(("noise", "asked"), [(0.0, 3), (0.1, 0)])
def test_the_decoder_asks_the_front_about_copies_unless_noise_makes_images_new(noise: float, asked: int) -> None:
    here = world(noise=noise, auxiliary=200)
    seen: set[bytes] = set()

    def observe(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        seen.update(image.numpy().tobytes() for image in pixels)
        return here.knowledge.observe(pixels, generator)

    auxiliary = here.knowledge.auxiliary
    knowledge = Knowledge(auxiliary, observe, expected=here.front, front=here.front, randomized=noise > 0)
    attack = build("decoder", {"width": 8, "hidden": 8, "blocks": 1, "max_epochs": 6, "augmented_copies": 3})
    attack.begin(knowledge, torch.Generator().manual_seed(0))
    for _ in range(6):
        attack.advance()
    own = {image.numpy().tobytes() for image in auxiliary.pixels}
    # of 180 images to fit on, most look new in each copy
    assert 90 * asked <= len(seen - own) <= 180 * asked
