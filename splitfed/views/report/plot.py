"""Small charts as figures with inline SVG, drawn by hand so that a report needs nothing from outside.

Series differ by color, dash and marker, so that they can be told apart in gray too; labels stand beside
what they name. Colors are CSS classes (`templates/style.css`), so the charts follow light and dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, HEIGHT = 680, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 16, 48
PALETTE = 6
"""Colors in `templates/style.css`; further series start again with another dash."""
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_LINE_PX = 15
LETTER_PX = 7
"""Width of a letter of a label, on average and rather more than less."""


class Mark(NamedTuple):
    """A point; ``x_low`` and ``x_high`` are the ends of its error bar, if it has one."""

    x: float
    y: float
    x_low: float | None = None
    x_high: float | None = None


class Series(NamedTuple):
    """A named curve, or a single point in a scatter chart; ``hollow`` marks one that does not count."""

    label: str
    marks: Sequence[Mark]
    hollow: bool = False


class Rule(NamedTuple):
    """A labeled line across the chart at one value, for comparison."""

    label: str
    value: float


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high``, drawn between ``start`` and ``stop`` in SVG units."""

    label: str
    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Where ``value`` lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round numbers that span [low, high], about ``count`` of them, at least two.

    >>> ticks(0.0, 1.0), ticks(12.9, 28.5)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [10.0, 15.0, 20.0, 25.0, 30.0])
    """
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def line_chart(title: str, series: Sequence[Series], *, x_label: str, y_label: str, rules: Sequence[Rule] = ()) -> str:
    """Curves over a common x, each labeled at its end; ``rules`` are horizontal. Empty without any point."""
    shown = [_finite(one) for one in series]
    shown = [one for one in shown if one.marks]
    if not shown:
        return ""
    x, y = _axes(shown, x_label, y_label, y_extra=[rule.value for rule in rules])
    parts = [*_frame(x, y), *(_horizontal(rule, y) for rule in rules)]
    parts += [_curve(one, number, x, y) for number, one in enumerate(shown)]
    ends = [(one.label, y.at(one.marks[-1].y), number) for number, one in enumerate(shown)]
    parts += _end_labels(ends)
    return _figure(title, shown, parts)


def scatter_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    rules: Sequence[Rule] = (),
    frontier: Sequence[Mark] = (),
) -> str:
    """Single points, each labeled beside it; ``rules`` are vertical. Empty without any.

    ``frontier`` is joined by steps: along each, what is as far right and as high is reached by one of the points.
    """
    shown = [_finite(one) for one in series]
    shown = [one for one in shown if one.marks]
    if not shown:
        return ""
    x, y = _axes(shown, x_label, y_label, x_extra=[rule.value for rule in rules])
    parts = [*_frame(x, y), *(_vertical(rule, x) for rule in rules), *_steps(frontier, x, y)]
    parts += [_point(one, number, x, y) for number, one in enumerate(shown)]
    parts += _point_labels(shown, x, y)
    return _figure(title, shown, parts)


def _finite(series: Series) -> Series:
    marks = [mark for mark in series.marks if math.isfinite(mark.x) and math.isfinite(mark.y)]
    return series._replace(marks=marks)


def _axes(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    x_extra: Sequence[float] = (),
    y_extra: Sequence[float] = (),
) -> tuple[Axis, Axis]:
    marks = [mark for one in series for mark in one.marks]
    bars = [end for mark in marks for end in (mark.x_low, mark.x_high) if end is not None]
    x_ticks = ticks(*_range([mark.x for mark in marks], bars, x_extra))
    y_ticks = ticks(*_range([mark.y for mark in marks], y_extra))
    return (
        Axis(x_label, x_ticks[0], x_ticks[-1], LEFT, WIDTH - RIGHT),
        Axis(y_label, y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP),
    )


def _range(*values: Iterable[float]) -> tuple[float, float]:
    listed = [value for some in values for value in some]
    return min(listed), max(listed)


def _figure(title: str, series: Sequence[Series], parts: Sequence[str]) -> str:
    last = "; ".join(f"{one.label}: {one.marks[-1].y:.3g} at {one.marks[-1].x:.3g}" for one in series)
    described = f'role="img" aria-label="{escape(f"{title}. {last}")}"'
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" {described}>{"".join(parts)}</svg>'
    return f"<figure>{svg}<figcaption>{escape(title)}</figcaption></figure>"


def _frame(x: Axis, y: Axis) -> list[str]:
    parts = []
    for value in ticks(x.low, x.high):
        place = x.at(value)
        parts.append(_line(place, y.start, place, y.stop, "grid"))
        parts.append(_text(place, y.start + 16, f"{value:g}", "tick", "middle"))
    for value in ticks(y.low, y.high):
        place = y.at(value)
        parts.append(_line(x.start, place, x.stop, place, "grid"))
        parts.append(_text(x.start - 8, place + 4, f"{value:g}", "tick", "end"))
    parts.append(_text((x.start + x.stop) / 2, HEIGHT - 10, x.label, "axis", "middle"))
    turned = f'transform="rotate(-90 14 {(y.start + y.stop) / 2:.1f})"'
    parts.append(_text(14, (y.start + y.stop) / 2, y.label, "axis", "middle", turned))
    return parts


def _curve(series: Series, number: int, x: Axis, y: Axis) -> str:
    points = " ".join(f"{x.at(mark.x):.1f},{y.at(mark.y):.1f}" for mark in series.marks)
    dash = _DASHES[number // PALETTE % len(_DASHES)] if number >= PALETTE else _DASHES[number % len(_DASHES)]
    line = f'<polyline class="{_color(number)} curve" stroke-dasharray="{dash}" points="{points}"/>'
    return line + "".join(_marker(number, x.at(m.x), y.at(m.y), hollow=series.hollow) for m in series.marks)


def _steps(frontier: Sequence[Mark], x: Axis, y: Axis) -> list[str]:
    """A staircase through the points, taken from left to right: across at a point's height, then up to the next."""
    marks = sorted(mark for mark in frontier if math.isfinite(mark.x) and math.isfinite(mark.y))
    if not marks:
        return []
    corners = [(x.at(marks[0].x), y.at(marks[0].y))]
    for mark in marks[1:]:
        corners += [(x.at(mark.x), corners[-1][1]), (x.at(mark.x), y.at(mark.y))]
    corners.append((x.stop, corners[-1][1]))
    points = " ".join(f"{across:.1f},{down:.1f}" for across, down in corners)
    return [f'<polyline class="frontier" points="{points}"/>']


def _point(series: Series, number: int, x: Axis, y: Axis) -> str:
    mark = series.marks[0]
    bar = ""
    if mark.x_low is not None and mark.x_high is not None:
        bar = _line(x.at(mark.x_low), y.at(mark.y), x.at(mark.x_high), y.at(mark.y), f"{_color(number)} curve")
    tip = f"<title>{escape(f'{series.label}: {mark.x:.3f}, {mark.y:.3f}')}</title>"
    return f"<g>{tip}{bar}{_marker(number, x.at(mark.x), y.at(mark.y), size=5.5, hollow=series.hollow)}</g>"


def _point_labels(series: Sequence[Series], x: Axis, y: Axis) -> list[str]:
    """Labels beside their points, moved down where they would overlap."""
    parts, taken = [], list[tuple[float, float]]()
    for number, one in sorted(enumerate(series), key=lambda item: y.at(item[1].marks[0].y)):
        across, down = x.at(one.marks[0].x) + 10, y.at(one.marks[0].y) + 4
        while any(abs(down - other) < _LINE_PX and abs(across - beside) < 180 for beside, other in taken):
            down += 2
        taken.append((across, down))
        fits = across + LETTER_PX * len(one.label) < WIDTH
        place, anchor = (across, "start") if fits else (across - 20, "end")
        parts.append(_text(place, down, one.label, f"{_color(number)} label", anchor))
    return parts


def _end_labels(ends: Sequence[tuple[str, float, int]]) -> list[str]:
    """Labels to the right of the chart at the height of their curve's end, kept apart, none below the axis."""
    ordered = sorted(ends, key=lambda end: end[1])
    heights = list[float]()
    for _, height, _ in ordered:
        heights.append(max(height + 4, heights[-1] + _LINE_PX) if heights else height + 4)
    overshoot = max(0.0, heights[-1] - (HEIGHT - BOTTOM + 4))
    return [
        _text(WIDTH - RIGHT + 10, height - overshoot, _shortened(label), f"{_color(number)} label", "start")
        for (label, _, number), height in zip(ordered, heights, strict=True)
    ]


def _shortened(label: str) -> str:
    room = (RIGHT - 10) // LETTER_PX
    return label if len(label) <= room else label[: room - 1] + "…"


def _horizontal(rule: Rule, y: Axis) -> str:
    place = y.at(rule.value)
    return _line(LEFT, place, WIDTH - RIGHT, place, "rule") + _text(LEFT + 6, place - 5, rule.label, "note", "start")


def _vertical(rule: Rule, x: Axis) -> str:
    place = x.at(rule.value)
    return _line(place, TOP, place, HEIGHT - BOTTOM, "rule") + _text(
        place + 5, HEIGHT - BOTTOM - 6, rule.label, "note", "start"
    )


def _marker(number: int, x: float, y: float, *, size: float = 3.5, hollow: bool = False) -> str:
    style = f'class="{_color(number)} {"hollow" if hollow else "mark"}"'
    shape = number % 4
    if shape == 0:
        return f'<circle {style} cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>'
    corners = {1: ((-1, -1), (1, -1), (1, 1), (-1, 1)), 2: ((0, -1.2), (1.2, 1), (-1.2, 1))}.get(
        shape, ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0))
    )
    points = " ".join(f"{x + size * across:.1f},{y + size * down:.1f}" for across, down in corners)
    return f'<polygon {style} points="{points}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, css: str, anchor: str, extra: str = "") -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'


def _color(number: int) -> str:
    return f"c{number % PALETTE}"
