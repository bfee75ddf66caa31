"""The losses against their definitions, and where they have gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from splitfed.errors import UserError
from splitfed.inversion.losses import LOSSES, centered, check_two_classes, cross_entropy, max_margin, poincare

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [0.5, 0.5, 3.0]])
WANTED = torch.tensor([0, 1])


def test_poincare_is_the_distance_in_the_ball() -> None:
    u, v = (0.5, 0.25, -0.25), (1 - 1e-4, 0.0, 0.0)
    apart = sum((a - b) ** 2 for a, b in zip(u, v, strict=True))
    inside = (1 - sum(a * a for a in u)) * (1 - sum(b * b for b in v))
    assert poincare(LOGITS, WANTED)[0].item() == pytest.approx(math.acosh(1 + 2 * apart / inside), rel=1e-4)


def test_poincare_does_not_see_the_size_of_logits() -> None:
    torch.testing.assert_close(poincare(LOGITS, WANTED), poincare(7 * LOGITS, WANTED))


def test_max_margin_is_the_largest_other_minus_the_wanted() -> None:
    assert max_margin(LOGITS, WANTED).tolist() == [-1.0, 2.5]


def test_max_margin_and_cross_entropy_need_no_logits_but_log_probabilities() -> None:
    logs = centered(LOGITS.softmax(dim=1))
    for loss in (max_margin, cross_entropy):
        torch.testing.assert_close(loss(logs, WANTED), loss(LOGITS, WANTED))


def test_centered_logs_are_logits_of_mean_zero() -> None:
    torch.testing.assert_close(centered(LOGITS.softmax(dim=1)), LOGITS - LOGITS.mean(dim=1, keepdim=True))
    assert bool(centered(torch.tensor([[1.0, 0.0]])).isfinite().all())


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_against_the_gradient_raises_the_wanted_class(name: str) -> None:
    logits = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wanted = torch.arange(50) % 5
    (gradient,) = torch.autograd.grad(LOSSES[name](logits, wanted).sum(), [logits])
    before, after = (F.cross_entropy(each.detach(), wanted) for each in (logits, logits - 0.05 * gradient))
    assert float(after) < float(before)


@pytest.mark.parametrize("name", LOSSES)
def test_extremes_stay_finite(name: str) -> None:
    logits = torch.tensor([[0.0, 0.0], [1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    loss = LOSSES[name](logits, torch.zeros(3).long())
    (gradient,) = torch.autograd.grad(loss.sum(), [logits])
    assert bool(loss.isfinite().all())
    assert bool(gradient.isfinite().all())


def test_two_classes_by_their_probabilities_need_another_loss() -> None:
    sure, unsure = (torch.tensor([[size, -size]]) for size in (3.0, 0.3))
    torch.testing.assert_close(poincare(sure, torch.tensor([0])), poincare(unsure, torch.tensor([0])))
    check_two_classes("max_margin", 2)
    check_two_classes("poincare", 3)
    with pytest.raises(UserError, match="max_margin"):
        check_two_classes("poincare", 2)
