"""Charts put points where their numbers say and survive numbers that are none."""

from __future__ import annotations

import doctest
import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitfed.views.report import plot
from splitfed.views.report.plot import Axis, Mark, Rule, Series, line_chart, scatter_chart, ticks

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


def heights(chart: str, css: str) -> list[float]:
    return [float(y) for y in re.findall(rf'class="{css} mark" cx="[\d.]+" cy="([\d.]+)"', chart)]


def test_the_examples_hold() -> None:
    assert doctest.testmod(plot).failed == 0


@given(NUMBERS, NUMBERS)
def test_ticks_span_their_range_evenly(first: float, second: float) -> None:
    low, high = min(first, second), max(first, second)
    marks = ticks(low, high)
    slack = 1e-6 * max(1.0, high - low)
    assert 2 <= len(marks) <= 12
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert marks == sorted(set(marks))


def test_an_axis_maps_its_ends_to_its_ends() -> None:
    axis = Axis("y", 10.0, 30.0, start=300.0, stop=100.0)
    assert [axis.at(value) for value in (10.0, 20.0, 30.0)] == [300.0, 200.0, 100.0]


def test_a_higher_value_is_drawn_higher() -> None:
    chart = line_chart("t", [Series("a", [Mark(0, 1), Mark(1, 2), Mark(2, 4)])], x_label="x", y_label="y")
    drawn = heights(chart, "c0")
    assert drawn == sorted(drawn, reverse=True)
    assert (drawn[0] - drawn[1]) * 2 == pytest.approx(drawn[1] - drawn[2], abs=0.2)


@given(st.lists(st.tuples(NUMBERS, NUMBERS | st.just(math.nan)), min_size=1, max_size=8), st.integers(1, 40))
def test_any_numbers_give_a_well_formed_chart(points: list[tuple[float, float]], count: int) -> None:
    series = [Series(f"<{number}> & co", [Mark(*point) for point in points]) for number in range(count)]
    for chart in (line_chart, scatter_chart):
        text = chart('a "title"', series, x_label="x", y_label="y", rules=[Rule("mean", 1.0)])
        assert text == "" or ET.fromstring(text).tag == "figure"
        assert "nan" not in text


def test_without_points_there_is_no_chart() -> None:
    assert line_chart("t", [Series("a", [])], x_label="x", y_label="y") == ""
    assert scatter_chart("t", [Series("a", [Mark(0, math.nan)])], x_label="x", y_label="y") == ""


def test_labels_of_near_points_do_not_overlap() -> None:
    series = [Series(f"s{number}", [Mark(0.5, 0.9 + 1e-6 * number)]) for number in range(6)]
    chart = scatter_chart("t", series, x_label="x", y_label="y")
    labels = sorted(float(y) for y in re.findall(r'class="c\d label" x="[\d.]+" y="([\d.]+)"', chart))
    assert len(labels) == 6
    assert min(b - a for a, b in pairwise(labels)) >= 14


def test_a_long_label_stays_within_the_chart() -> None:
    name = "gaussian (scale 0.5, where every layer, clipped)"
    chart = scatter_chart("t", [Series(name, [Mark(1, 1)])], x_label="x", y_label="y", rules=[Rule("r", 0.0)])
    assert 'text-anchor="end" >gaussian' in chart
    line = line_chart("t", [Series(name, [Mark(1, 1)])], x_label="x", y_label="y")
    assert ">gaussian (scale 0.5, whe…<" in line


def test_a_point_that_does_not_count_is_hollow_and_says_its_numbers() -> None:
    chart = scatter_chart("t", [Series("a", [Mark(0.5, 0.9)], hollow=True)], x_label="x", y_label="y")
    assert 'class="c0 hollow"' in chart
    assert "a: 0.9 at 0.5" in chart


def test_a_frontier_is_a_staircase_from_left_to_right() -> None:
    chart = scatter_chart(
        "both",
        [Series("a", [Mark(0.2, 0.5)]), Series("b", [Mark(0.8, 0.9)])],
        x_label="x",
        y_label="y",
        frontier=[Mark(0.8, 0.9), Mark(0.2, 0.5)],
    )
    (points,) = re.findall(r'class="frontier" points="([^"]+)"', chart)
    corners = [tuple(map(float, pair.split(","))) for pair in points.split()]
    assert len(corners) == 4
    assert all(a[0] <= b[0] for a, b in pairwise(corners))
    assert all(a[1] >= b[1] for a, b in pairwise(corners))  # downwards is up in SVG
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(corners))
    assert "frontier" not in scatter_chart("one", [Series("a", [Mark(0, 0)])], x_label="x", y_label="y")
