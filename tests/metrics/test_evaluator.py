"""The evaluation model learns, repeats, and counts what it is asked."""

from __future__ import annotations

import pytest
import torch

from splitfed.errors import DataError
from splitfed.metrics.evaluator import Evaluator, train_evaluator
from splitfed.types import Images
from tests.attacks.worlds import digits

OWN, OTHERS = digits()[:900], digits()[900:1400]


def trained(seed: int = 0, epochs: int = 8) -> Evaluator:
    return train_evaluator(OWN, epochs=epochs, draws=torch.Generator().manual_seed(seed))


def test_it_knows_the_classes_of_others_as_it_says() -> None:
    evaluator = trained()
    right = evaluator.probabilities(OTHERS.pixels).argmax(dim=1) == OTHERS.labels
    assert float(right.float().mean()) > 0.93
    assert abs(float(right.float().mean()) - evaluator.accuracy) < 0.05
    assert len(evaluator.accuracies) == 10


def test_it_counts_what_it_is_asked_since() -> None:
    evaluator = trained(epochs=1)
    assert evaluator.asked == 0
    evaluator.probabilities(OTHERS.pixels[:7])
    assert evaluator.asked == 7


def test_the_same_draws_give_the_same_weights() -> None:
    first, second, other = (trained(seed, epochs=1).probabilities(OTHERS.pixels[:20]) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (OWN[:49], "49 images for the evaluation model; it needs at least 50"),
        (Images(OWN.pixels[:60], torch.zeros(60).long(), ("a", "b")), "no image of class 'b'"),
    ],
)
def test_what_it_cannot_learn_from_is_refused(images: Images, message: str) -> None:
    with pytest.raises(DataError, match=message):
        train_evaluator(images, epochs=1, draws=torch.Generator())
