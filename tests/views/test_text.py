"""Short text says what its numbers say."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitfed.views import summary, text
from splitfed.views.text import BARS, byte_count, duration, sparkline


def test_the_examples_in_the_docstrings_hold() -> None:
    for module in (text, summary):
        outcome = doctest.testmod(module)
        assert outcome.attempted > 0
        assert outcome.failed == 0


@given(st.lists(st.floats(-1e6, 1e6), max_size=50), st.integers(1, 20))
def test_a_sparkline_never_outgrows_its_width(values: list[float], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) == min(width, len(values))
    assert set(drawn) <= set(BARS)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=20, unique=True))
def test_a_rising_curve_rises(values: list[int]) -> None:
    heights = [BARS.index(bar) for bar in sparkline(sorted(values), len(values))]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (0, 7)


def test_a_value_that_is_no_number_leaves_a_gap() -> None:
    assert sparkline([0.0, math.nan, 1.0], 3) == "▁ █"
    assert sparkline([math.inf, math.nan], 2) == "  "
    assert sparkline([], 5) == ""


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999.4, "999 B"), (999.6, "1 kB"), (2e6, "2 MB"), (None, "—")]
)
def test_bytes_have_a_unit(count: float | None, shown: str) -> None:
    assert byte_count(count) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0 s"), (59.6, "1:00 min"), (3599.7, "1:00 h"), (61, "1:01 min")])
def test_a_duration_carries_over(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
