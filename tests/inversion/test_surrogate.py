"""A surrogate comes to answer as the classifier does, from its answers alone."""

from __future__ import annotations

import torch

from splitfed.generators import images_of
from splitfed.inversion.losses import centered
from splitfed.inversion.surrogate import Surrogate
from splitfed.types import ImageShape
from tests.inversion.worlds import generator, own_images, target


def taught(epochs: int) -> tuple[Surrogate, list[float]]:
    images = images_of(generator(), generator().sample(1500, torch.Generator().manual_seed(3)))
    surrogate = Surrogate(ImageShape(1, 8, 8), 10, 64, torch.Generator().manual_seed(0))
    surrogate.remember(images, target()(images).softmax(dim=1))
    return surrogate, [surrogate.learn(1) for _ in range(epochs)]


def test_it_agrees_with_the_classifier_on_other_images() -> None:
    surrogate, losses = taught(15)
    assert losses[-1] < 0.2 * losses[0]
    others = own_images().pixels
    agreed = surrogate.logits(others).argmax(dim=1) == target()(others).argmax(dim=1)
    assert float(agreed.float().mean()) > 0.85


def test_its_logits_are_centered_as_those_of_probabilities_are() -> None:
    surrogate, _ = taught(1)
    logits = surrogate.logits(own_images().pixels[:9])
    torch.testing.assert_close(centered(logits.softmax(dim=1)), logits, rtol=0, atol=1e-4)


def test_the_same_answers_teach_the_same() -> None:
    first, second = (taught(2)[0].logits(own_images().pixels[:9]) for _ in range(2))
    assert torch.equal(first, second)
