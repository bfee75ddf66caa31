"""Shares, lifts, and the mark of what fools the classifier and inverts nothing, on answers that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from splitfed.metrics.class_inversion import FoundClass, agreement

K = 4


def shown(*classes: int) -> Tensor:
    """Images whose brightness says of which class they are."""
    return torch.tensor(classes).view(-1, 1, 1, 1).expand(-1, 1, 2, 2) / K


def reads(images: Tensor) -> Tensor:
    """Whoever reads the brightness."""
    return torch.eye(K)[(images[:, 0, 0, 0] * K).round().long()]


def unsure(images: Tensor) -> Tensor:
    return torch.full((len(images), K), 1 / K)


FOUND = [
    FoundClass(0, shown(0, 0, 0, 1), starts=shown(0, 0, 1, 1), random=shown(0, 1, 2, 3)),
    FoundClass(2, shown(2, 2, 2, 2), starts=shown(2, 2, 2, 0), random=shown(0, 1, 2, 3)),
]


def test_shares_are_counted_by_class() -> None:
    judged = agreement(FOUND, evaluator=reads, target=reads)
    assert [(each.label, each.share, each.start_share, each.random_share) for each in judged.classes] == [
        (0, 0.75, 0.5, 0.25),
        (2, 1.0, 0.75, 0.25),
    ]
    assert judged.share == 0.875
    assert judged.share_ci95[0] < 0.875 < judged.share_ci95[1]
    assert judged.over_random.value == pytest.approx(0.625)
    assert judged.over_selection.value == pytest.approx(0.25)
    assert judged.over_random.ci95[0] < 0.625 < judged.over_random.ci95[1]
    assert judged.confusion.tolist() == [[0.75, 0.0], [0.0, 1.0]]


def test_what_the_target_accepts_and_the_evaluator_does_not_is_marked_and_does_not_count() -> None:
    found = [FoundClass(1, shown(3, 3, 3, 1), starts=shown(1, 1, 1, 1), random=shown(1, 1, 1, 1))]
    judged = agreement(found, evaluator=reads, target=lambda images: torch.eye(K)[torch.ones(len(images)).long()])
    assert judged.classes[0].adversarial
    assert judged.classes[0].share == 0.25
    assert judged.share == 0.0
    assert judged.over_random.value == -1.0


def test_what_the_target_does_not_accept_either_is_not_marked() -> None:
    found = [FoundClass(1, shown(3, 3, 3, 1), starts=shown(1, 1, 1, 1), random=shown(1, 1, 1, 1))]
    judged = agreement(found, evaluator=reads, target=unsure)
    assert not judged.classes[0].adversarial
    assert judged.share == 0.25


def test_unequal_numbers_are_not_compared() -> None:
    with pytest.raises(ValueError, match="class 0 has 2 final images, 1 after selection, and 2 random"):
        agreement([FoundClass(0, shown(0, 0), shown(0), shown(0, 0))], evaluator=reads, target=reads)
    with pytest.raises(ValueError, match="no class"):
        agreement([], evaluator=reads, target=reads)
