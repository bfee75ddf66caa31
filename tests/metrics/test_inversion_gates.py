"""Every gate passes what it must, and is shown a run that was broken on purpose."""

from __future__ import annotations

import pytest
import torch

from splitfed.generators.disjoint import Overlap
from splitfed.metrics.class_inversion import Lift
from splitfed.metrics.inversion_gates import (
    budget_kept,
    evaluator_fit,
    inversion_lifts,
    latents_moved,
    prior_disjoint,
    untrained_at_chance,
)
from splitfed.types import Images
from tests.attacks.worlds import digits


@pytest.mark.parametrize(
    ("lift", "passes"),
    [(Lift(0.8, (0.7, 0.9)), True), (Lift(0.4, (0.3, 0.5)), False), (Lift(0.6, (-0.1, 0.9)), False)],
)
def test_the_undefended_target_is_inverted(lift: Lift, passes: bool) -> None:
    gate = inversion_lifts(lift, margin=0.5)
    assert gate.passed is passes
    assert f"{lift.value:+.3f}" in gate.detail


def random_confusion(classes: int, seed: int) -> torch.Tensor:
    """Each group of images is of one class, whichever."""
    given = torch.randint(classes, (classes,), generator=torch.Generator().manual_seed(seed))
    return torch.eye(classes, dtype=torch.float64)[given]


def test_groups_that_have_nothing_to_do_with_their_class_are_chance() -> None:
    passed = [untrained_at_chance([random_confusion(6, seed)]).passed for seed in range(200)]
    assert sum(passed) >= 0.97 * 200


def test_an_untrained_target_that_gives_classes_away_is_caught() -> None:
    gate = untrained_at_chance([torch.eye(6)])
    assert not gate.passed
    assert "untrained 1.000, chance 0.167, standard error 0.167" in gate.detail
    mostly = 0.8 * torch.eye(6) + 0.2 / 6
    assert not untrained_at_chance([mostly]).passed


def test_all_images_in_one_class_are_chance() -> None:
    one = torch.zeros(6, 6)
    one[:, 2] = 1
    assert untrained_at_chance([one]).passed


def test_the_standard_error_is_that_of_permutations() -> None:
    confusion = torch.rand(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = torch.Generator().manual_seed(1)
    means = torch.stack([confusion[:, torch.randperm(7, generator=draws)].diagonal().mean() for _ in range(20000)])
    detail = untrained_at_chance([confusion]).detail
    assert f"chance {float(confusion.mean()):.3f}, standard error {float(means.std()):.3f}" in detail


def test_two_classes_need_more_than_one_untrained_target() -> None:
    gate = untrained_at_chance([torch.eye(2)])
    assert not gate.passed
    assert "at least 10 are wanted" in gate.detail
    assert not untrained_at_chance([torch.eye(2)] * 10).passed, "it finds the classes every time"
    assert untrained_at_chance([torch.eye(2), torch.eye(2).flip(0)] * 5).passed
    assert not untrained_at_chance([]).passed


OWN, THEIRS = digits()[:100], digits()[100:200]


def fit(accuracy: float = 0.97, asked: int = 0, images: Images = OWN, **others: Images) -> tuple[bool, str]:
    gate = evaluator_fit(
        accuracy, [0.9, None, 1.0], wanted=0.95, asked=asked, images=images, others=others or {"victims'": THEIRS}
    )
    return gate.passed, gate.detail


def test_an_evaluator_that_is_good_and_nobodys_passes() -> None:
    assert fit()[0]


def test_a_poor_an_asked_and_a_shared_evaluator_are_caught() -> None:
    assert fit(accuracy=0.94) == (False, "accuracy 0.940, at least 0.950 wanted")
    assert fit(asked=5) == (False, "it was asked about 5 images while the attack went on")
    assert fit(images=digits()[99:120]) == (False, "20 of its images are victims'")
    gate = evaluator_fit(0.97, [1.0, 0.0], wanted=0.95, asked=0, images=OWN, others={})
    assert (gate.passed, gate.detail) == (False, "class 1 has accuracy 0")


def test_latents_that_stay_are_caught() -> None:
    assert latents_moved({0: 0.1, 1: 0.0}).passed
    assert "not in 1 of 2 classes: 1" in latents_moved({0: 0.1, 1: 0.0}).detail
    assert not latents_moved({0: 0.0, 1: 0.0}).passed
    assert not latents_moved({0: float("nan")}).passed
    assert not latents_moved({}).passed


@pytest.mark.parametrize(
    ("asked", "answered", "budget", "passes"),
    [(100, 100, 100, True), (100, 100, None, True), (101, 101, 100, False), (90, 100, 100, False)],
)
def test_a_budget_that_is_overdrawn_or_miscounted_is_caught(
    asked: int, answered: int, budget: int | None, passes: bool
) -> None:
    assert budget_kept(asked=asked, answered=answered, budget=budget).passed is passes


@pytest.mark.parametrize(
    ("found", "near_counts", "passes"),
    [
        (Overlap(True, 0, 0, 0), True, True),
        (Overlap(True, 1, 0, 0), False, False),
        (Overlap(True, 0, 2, 0), False, True),
        (Overlap(True, 0, 2, 0), True, False),
        (Overlap(True, 0, None, 3), False, False),
        (Overlap(False, 0, None, 0), True, True),
    ],
)
def test_a_generator_of_the_victims_is_caught(found: Overlap, near_counts: bool, passes: bool) -> None:
    gate = prior_disjoint(found, near_is_overlap=near_counts)
    assert gate.passed is passes
    assert gate.detail == found.detail
