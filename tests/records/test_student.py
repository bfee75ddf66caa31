"""Student's t without SciPy is SciPy's."""

from __future__ import annotations

import random

import pytest
from scipy.stats import t, ttest_rel

from splitfed.records.paired import paired_difference
from splitfed.records.student import t_interval, t_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 29, 50, 199, 200, 201, 1000, 100_000])
def test_quantiles(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(t.ppf(0.975, degrees), rel=1e-6)


def test_the_interval_of_pairs_is_that_of_the_paired_test() -> None:
    draw = random.Random(0)
    hard = [draw.uniform(10, 40) for _ in range(25)]
    other = [value - draw.gauss(1.0, 0.5) for value in hard]
    found = paired_difference(other, hard, attacks=("ridge", "decoder"))
    exact = ttest_rel(other, hard).confidence_interval(0.95)
    assert found is not None
    assert found.ci95 == pytest.approx((exact.low, exact.high))
    # what makes one image harder than another cancels
    low, high = found.ci95
    assert low is not None
    assert high is not None
    assert high < 0
    whole = t_interval(hard)
    assert whole is not None
    assert high - low < 0.2 * (whole[1] - whole[0])


def test_one_value_has_no_interval() -> None:
    assert t_interval([1.0]) is None
    assert paired_difference([1.0], [2.0], attacks=("a", "b")) is None


def test_it_covers_the_mean_as_often_as_it_says() -> None:
    draw = random.Random(1)
    covered = 0
    for _ in range(2000):
        low, high = t_interval([draw.gauss(5.0, 2.0) for _ in range(3)]) or (0.0, 0.0)
        covered += low <= 5.0 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)
