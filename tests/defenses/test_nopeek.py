"""NoPeek: the extra term is the distance correlation of images and activations, and training lowers it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from splitfed import defenses
from splitfed.data import Splits
from splitfed.defenses.base import TapEvidence, TrainingBatch, TrainingPlan
from splitfed.defenses.dependence import distance_correlation
from splitfed.defenses.nopeek import NoPeek, NoPeekOptions
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.models.front import FrontSpec, PlainFront
from tests.federation.harness import train


def batch_of(digits: Splits, front: PlainFront) -> TrainingBatch:
    images = digits.train[:32]
    output, hidden = front.trace(front.stem(images.pixels))
    return TrainingBatch(images.pixels, images.labels, output, hidden, front)


def left_at_the_tap(defense: NoPeek, front: PlainFront, digits: Splits) -> float:
    images = digits.train[:200]
    tapped = front(images.pixels).detach()
    plan = TrainingPlan(images=(200,), batch_size=32, rounds=1, local_epochs=1, classes=10)
    evidence = TapEvidence(front, images.pixels, images.labels, tapped, tapped, [], plan)
    return defense.figures(evidence)["distance_correlation"]


@pytest.fixture
def front(digits: Splits) -> PlainFront:
    made = NoPeek(NoPeekOptions()).build_front(FrontSpec(digits.train.shape, 48), torch.Generator().manual_seed(0))
    assert isinstance(made, PlainFront)
    return made


def test_the_penalty_is_the_weighted_distance_correlation(digits: Splits, front: PlainFront) -> None:
    batch = batch_of(digits, front)
    wanted = distance_correlation(batch.pixels.flatten(1), batch.output)
    assert 0.5 < wanted < 1
    for weight in (0.1, 3.0):
        torch.testing.assert_close(NoPeek(NoPeekOptions(weight=weight)).regularizer(batch), weight * wanted)


def test_steps_against_the_penalty_lower_what_is_left_at_the_tap(digits: Splits, front: PlainFront) -> None:
    defense = NoPeek(NoPeekOptions())
    before = left_at_the_tap(defense, front, digits)
    optimizer = torch.optim.SGD(front.body.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        term: Tensor = defense.regularizer(batch_of(digits, front))
        term.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert left_at_the_tap(defense, front, digits) < before - 0.1


def test_a_run_with_it_leaves_less_than_one_without(
    digits: Splits, job_of: Callable[..., Job], shares: list[ClientImages]
) -> None:
    defense = NoPeek(NoPeekOptions())
    left = {}
    for name, options in (("none", {}), ("nopeek", {"weight": 10.0})):
        result = train(job_of(name, options=options), shares, direct=True)
        assert isinstance(result.front, PlainFront)
        left[name] = left_at_the_tap(defense, result.front, digits)
        if name == "nopeek":
            assert all(measures["penalty_gradient_norm"] > 0 for measures in result.measures.values())
    assert left["nopeek"] < left["none"] - 0.02


def test_a_weight_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        defenses.build("nopeek", {"weight": 0})
