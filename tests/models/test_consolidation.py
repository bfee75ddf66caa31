"""Weights that are held where they were, each as firmly as it matters."""

from __future__ import annotations

import pytest
import torch

from splitfed import data
from splitfed.metrics.fingerprint import fingerprint
from splitfed.models.consolidation import Anchor, consolidate
from splitfed.models.front import PlainFront, initialize
from splitfed.seeding import generator
from splitfed.types import Images


@pytest.fixture
def front(digits: data.Splits) -> PlainFront:
    front = PlainFront(digits.train.shape, 24)
    initialize(front, generator(0, "front"))
    return front


def anchor_of(front: PlainFront, images: Images, seed: int = 0) -> Anchor:
    return consolidate(front, images, epochs=1, generator=generator(seed, "consolidate"))


def test_importance_is_relative_to_the_most_important_weight(front: PlainFront, digits: data.Splits) -> None:
    anchor = anchor_of(front, digits.train[:64])
    importance = torch.cat([value.flatten() for value in anchor.importance.values()])
    assert float(importance.max()) == 1
    assert float(importance.min()) >= 0


def test_a_pixel_that_is_always_the_same_gray_does_not_matter(front: PlainFront, digits: data.Splits) -> None:
    images = digits.train[:64]
    gray = images.pixels.clone()
    gray[:, 0, 0, 0] = 0.5  # 0 once normalized: its weights have no gradient
    anchor = anchor_of(front, Images(gray, images.labels, images.classes))
    weights = anchor.importance["0.weight"]
    assert float(weights[:, 0].max()) == 0
    assert float(weights.max()) > 0


def test_the_front_itself_is_not_changed_but_its_copy_learned(front: PlainFront, digits: data.Splits) -> None:
    before = fingerprint(front.state_dict())
    anchor = anchor_of(front, digits.train[:64])
    assert fingerprint(front.state_dict()) == before
    assert float(anchor.regularizer(front.body).detach()) > 0


def test_the_penalty_is_half_the_weighted_square_and_pulls_back(front: PlainFront) -> None:
    weight = front.body.get_parameter("0.weight")
    anchor = Anchor({"0.weight": weight.detach() - 2}, {"0.weight": torch.full_like(weight, 0.25)})
    penalty = anchor.regularizer(front.body)
    assert float(penalty.detach()) == pytest.approx(0.5 * 0.25 * 4 * weight.numel(), rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, weight)
    assert torch.allclose(gradient, torch.full_like(weight, 0.25 * 2), atol=1e-5)


def test_it_repeats_under_a_seed(front: PlainFront, digits: data.Splits) -> None:
    prints = [fingerprint(anchor_of(front, digits.train[:64], seed).weights) for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
