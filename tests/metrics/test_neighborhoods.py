"""Precision, recall, density, and coverage against their published definitions, and a published program."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from splitfed.metrics.neighborhoods import Neighborhoods, memorization, neighborhoods
from tests.attacks.worlds import digits

ROWS = digits().pixels.flatten(1)


def written_out(real: Tensor, made: Tensor, k: int) -> tuple[float, float, float, float]:
    """The four definitions, pair by pair."""

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a.double() - b.double()).square().sum().sqrt())

    def radius(rows: Tensor, own: int) -> float:
        return sorted(distance(rows[own], other) for place, other in enumerate(rows) if place != own)[k - 1]

    real_radii, made_radii = ([radius(rows, own) for own in range(len(rows))] for rows in (real, made))
    near = [[distance(a, b) for b in made] for a in real]
    inside = [[near[i][j] <= real_radii[i] for j in range(len(made))] for i in range(len(real))]
    precision = sum(any(inside[i][j] for i in range(len(real))) for j in range(len(made))) / len(made)
    recall = sum(any(near[i][j] <= made_radii[j] for j in range(len(made))) for i in range(len(real))) / len(real)
    density = sum(map(sum, inside)) / k / len(made)
    coverage = sum(map(any, inside)) / len(real)
    return precision, recall, density, coverage


@pytest.mark.parametrize("k", [1, 3])
def test_they_are_what_is_published(k: int) -> None:
    real, made = ROWS[:30], 0.8 * ROWS[30:55]
    found = neighborhoods(real, made, k=k)
    assert found[:4] == pytest.approx(written_out(real, made, k))
    assert found[4:] == (30, 25)


@pytest.mark.parametrize(
    ("real", "made", "k", "published"),
    [
        (ROWS[:150], 0.9 * ROWS[150:300], 3, (0.92666667, 0.82, 1.21777778, 0.88666667)),
        (ROWS[:120], 0.9 * ROWS[150:350] + 0.03, 5, (0.965, 0.925, 1.233, 1.0)),
    ],
)
def test_they_are_what_the_authors_program_says(
    real: Tensor, made: Tensor, k: int, published: tuple[float, float, float, float]
) -> None:
    """`prdc.compute_prdc` of github.com/clovaai/generative-evaluation-prdc on these features in float64 gave them."""
    assert neighborhoods(real, made, k=k)[:4] == pytest.approx(published, abs=1e-7)


def test_the_real_itself_is_all_of_it_and_the_far_away_nothing() -> None:
    same = neighborhoods(ROWS[:60], ROWS[:60])
    assert (same.precision, same.recall, same.coverage) == (1.0, 1.0, 1.0)
    far = neighborhoods(ROWS[:60], ROWS[60:120] + 100)
    assert far[:4] == (0.0, 0.0, 0.0, 0.0)


def test_one_image_over_and_over_is_precise_and_covers_nothing() -> None:
    jitter = 1e-3 * torch.randn(60, 64, generator=torch.Generator().manual_seed(0))
    collapsed: Neighborhoods = neighborhoods(ROWS[:60], ROWS[:1] + jitter)
    assert collapsed.precision == 1.0
    assert collapsed.coverage < 0.3
    assert collapsed.recall < 0.3


def test_too_few_images_have_no_radius() -> None:
    with pytest.raises(ValueError, match="more than 3 images, found 3"):
        neighborhoods(ROWS[:3], ROWS[:60])


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_copies_of_private_images_show() -> None:
    private, held_out = ROWS[:200], ROWS[200:500]
    found = memorization(private[:40] + 0.01, private, held_out, draws=draws())
    assert found.n == 200
    assert found.nearest_private == pytest.approx(0.08, abs=1e-6)
    assert found.difference_ci95[1] < 0


def test_others_do_not() -> None:
    found = memorization(ROWS[600:900], ROWS[:200], ROWS[200:600], draws=draws())
    assert found.difference_ci95[0] < 0 < found.difference_ci95[1]
    assert abs(found.difference) < 0.05 * found.nearest_private


def test_equal_numbers_are_compared() -> None:
    found = memorization(ROWS[600:700], ROWS[:50], ROWS[200:600], draws=draws())
    assert found.n == 50
    with pytest.raises(ValueError, match="nothing to compare"):
        memorization(ROWS[:5], ROWS[:0], ROWS[:5], draws=draws())
