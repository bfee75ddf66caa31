"""What is asked is counted, what may not be asked is not, and an answer that is none is refused by name."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from splitfed.errors import AttackError
from splitfed.inversion.oracle import Access, BudgetExhausted, Classifier, Oracle
from tests.inversion.worlds import own_images, target

IMAGES = own_images().pixels[:8]


def answers(access: Access) -> Classifier:
    if access == "label":
        return lambda images: target()(images).argmax(dim=1)
    return (lambda images: target()(images).softmax(dim=1)) if access == "query" else target()


@pytest.mark.parametrize("access", get_args(Access))
def test_every_access_gives_probabilities(access: Access) -> None:
    oracle = Oracle(answers(access), access, 10)
    given = oracle.probabilities(IMAGES)
    assert torch.equal(given.argmax(dim=1), target()(IMAGES).argmax(dim=1))
    torch.testing.assert_close(given.sum(dim=1), torch.ones(8))
    assert oracle.asked == 8


def test_labels_say_nothing_but_themselves() -> None:
    said = Oracle(answers("label"), "label", 10).probabilities(IMAGES)
    assert set(said.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("access", ["query", "label"])
def test_only_gradients_give_gradients(access: Access) -> None:
    oracle = Oracle(answers(access), access, 10)
    with pytest.raises(AttackError, match="gives no gradients"):
        oracle.logits(IMAGES)
    assert oracle.asked == 0


def test_gradients_count() -> None:
    oracle = Oracle(target(), "gradients", 10)
    pixels = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(oracle.logits(pixels).sum(), [pixels])
    assert float(gradient.abs().sum()) > 0
    assert oracle.asked == 8


def test_the_budget_is_kept_to_the_image() -> None:
    seen: list[int] = []

    def counting(images: Tensor) -> Tensor:
        seen.append(len(images))
        return answers("query")(images)

    oracle = Oracle(counting, "query", 10, budget=12)
    oracle.probabilities(IMAGES)
    with pytest.raises(BudgetExhausted, match=r"budget of 12 is exhausted: 8 asked, 8 more wanted; raise query_budget"):
        oracle.probabilities(IMAGES)
    oracle.probabilities(IMAGES[:4])
    assert seen == [8, 4]
    assert oracle.asked == 12


@pytest.mark.parametrize(
    ("access", "answer", "message"),
    [
        ("query", torch.full((8, 9), 1 / 9), r"gave \(8, 9\) of torch.float32 for 8 images; expected \(8, 10\) floats"),
        ("query", torch.zeros(8, 10).long(), "floats: one row each"),
        ("query", torch.full((8, 10), torch.nan), "NaN or infinity"),
        ("query", torch.full((8, 10), 0.3), "no probabilities"),
        ("query", torch.eye(10)[:8] * 2 - 0.1, "no probabilities"),
        ("label", torch.zeros(8), "whole numbers below 10"),
        ("label", torch.full((8,), 10), "whole numbers below 10"),
        ("label", torch.zeros(7).long(), "whole numbers below 10"),
        ("gradients", torch.full((8, 10), torch.inf), "NaN or infinity"),
    ],
)
def test_an_answer_that_is_none_is_refused(access: Access, answer: Tensor, message: str) -> None:
    with pytest.raises(AttackError, match=message):
        Oracle(lambda _: answer, access, 10).probabilities(IMAGES)
