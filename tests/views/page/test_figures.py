"""Figures put marks where their numbers say, keep names apart, and differ by more than color."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from splitfed.records import features as feature_record
from splitfed.records.store import RunStore
from splitfed.views.report.report import write_report
from tests.views.fabricated import manifest, run_results
from tests.views.page.chromium import Watched, opened
from tests.views.page.server import WatchServer
from tests.views.report.test_features import network, record_of

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

RULES = [{"label": "class mean", "value": 0.5}]
DRAW = """async (figure) => {
  const { FigureView } = await import("/static/charts/figure.js");
  document.getElementById("drawn-here")?.remove();
  const element = document.createElement("figure");
  element.id = "drawn-here";
  element.style.width = "700px";
  document.body.append(element);
  new FigureView(element).show(figure);
  const place = (mark) => {
    const { x, y, width, height } = mark.getBoundingClientRect();
    return { x: x + width / 2, y: y + height / 2, width, height, text: mark.textContent,
             fill: mark.getAttribute("fill"), d: mark.getAttribute("d") };
  };
  const all = (selector) => [...element.querySelectorAll(`.drawing ${selector}`)].map(place);
  return {
    circles: all("circle"),
    names: all('g[font-weight] text'),
    label: element.querySelector("[role=img]").getAttribute("aria-label"),
    legend: [...element.querySelectorAll(".legend li")].map((item) => item.textContent),
    elements: element.querySelectorAll("b b, script").length,
  };
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A page that has the library and the modules."""
    root = tmp_path_factory.mktemp("figures")
    with (
        RunStore.create(root, "figures", manifest()) as store,
        WatchServer(root) as server,
        opened(browser, f"{server.address}run/{store.path.name}") as watched,
    ):
        yield watched


def drawn(page: Watched, kind: str, *series: tuple[str, list[tuple[float, float]]], **more: Any) -> dict[str, Any]:
    listed = [
        {"label": label, "points": [{"x": x, "y": y} for x, y in points], "counts": True} for label, points in series
    ]
    figure = {"kind": kind, "title": "t", "x": "x", "y": "y", "series": listed, "rules": [], "frontier": [], **more}
    found: dict[str, Any] = page.page.evaluate(DRAW, figure)
    return found


def test_a_higher_value_is_drawn_higher_and_a_later_one_to_the_right(page: Watched) -> None:
    found = drawn(page, "lines", ("a", [(0, 1), (1, 2), (2, 4)]))
    first, second, third = found["circles"]
    assert first["x"] < second["x"] < third["x"]
    assert (first["y"] - second["y"]) * 2 == pytest.approx(second["y"] - third["y"], abs=1.5)
    assert found["label"] == "t.  a: 4 at 2"


def test_what_a_figure_is_compared_with_is_in_its_legend(page: Watched) -> None:
    found = drawn(page, "lines", ("a", [(0, 0.4), (1, 0.6)]), rules=RULES)
    assert found["legend"] == ["a0.6", "class mean0.5"]


def test_names_of_near_points_do_not_overlap(page: Watched) -> None:
    found = drawn(page, "points", *((f"s{place}", [(0.5, 0.9 + 1e-6 * place)]) for place in range(6)), rules=RULES)
    heights = sorted(name["y"] for name in found["names"])
    assert len(heights) == 6
    assert all(after - before >= 12 for before, after in itertools.pairwise(heights))


def test_a_long_name_stays_within_the_drawing(page: Watched) -> None:
    long = "gaussian (scale 0.5, where every layer, clipped)"
    found = drawn(page, "points", (long, [(1.0, 1.0)]), ("b", [(0.0, 0.0)]), rules=RULES)
    (name,) = (name for name in found["names"] if name["text"] == long)
    edge = page.number("document.querySelector('#drawn-here .drawing').getBoundingClientRect().right")
    assert name["x"] + name["width"] / 2 <= edge + 1


def test_a_point_that_does_not_count_is_hollow(page: Watched) -> None:
    series = [
        {"label": "a", "points": [{"x": 0, "y": 0}], "counts": True},
        {"label": "b INVALID", "points": [{"x": 1, "y": 1}], "counts": False},
    ]
    figure = {"kind": "points", "title": "t", "x": "x", "y": "y", "series": series, "rules": [], "frontier": []}
    page.page.evaluate(DRAW, figure)
    fills = page.page.evaluate(
        """[...document.querySelectorAll('#drawn-here .drawing [stroke-width="2"]')]
             .map((mark) => mark.getAttribute("fill")).filter(Boolean)"""
    )
    assert "var(--c0)" in fills
    assert "var(--paper)" in fills


def test_a_name_cannot_become_markup(page: Watched) -> None:
    found = drawn(page, "lines", ("<script>alert('x')</script><b>b</b>", [(0, 1), (1, 2)]))
    assert found["elements"] == 0
    assert found["legend"][0].startswith("<script>")


def test_series_differ_by_more_than_color(page: Watched) -> None:
    looks: list[dict[str, str]] = page.page.evaluate(
        """async () => {
          const { lookOf } = await import("/static/charts/look.js");
          return Array.from({ length: 24 }, (_, place) => lookOf(place));
        }"""
    )
    marks = [(look["color"], look["shape"]) for look in looks]
    assert len(set(marks)) == 24
    assert all(one["shape"] != other["shape"] for one, other in itertools.pairwise(looks))
    assert len({look["dash"] for look in looks[:4]}) == 4


def test_features_are_panels_of_the_report(browser: Browser, tmp_path: Path) -> None:
    points = [(0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (1.0, 1.0)]
    three = [network(f"two {kind} layers", points) for kind in ("linear", "convolutional", "sparse coding")]
    with RunStore.create(tmp_path, "features", manifest()) as store:
        store.save_results(run_results())
        feature_record.save(store.path, record_of(*three, labels=[0, 1, 1, 0], classes=["Hand", "Head <CT>"]))
        path = write_report(store)
    with opened(browser, path.as_uri()) as watched:
        panels = watched.page.locator(".panels svg")
        panels.first.wait_for()
        assert panels.count() == 3
        assert watched.page.locator(".panel").all_inner_texts() == [one.layers for one in three]
        assert watched.page.locator("[data-features] .legend li").all_inner_texts() == ["Hand", "Head <CT>"]
        corners = watched.page.evaluate(
            """[...document.querySelector(".panels svg").querySelectorAll("circle, path[transform]")]
                 .map((mark) => mark.getBoundingClientRect()).map(({ x, y }) => [Math.round(x), Math.round(y)])"""
        )
        across = max(x for x, _ in corners) - min(x for x, _ in corners)
        down = max(y for _, y in corners) - min(y for _, y in corners)
        assert across == pytest.approx(2 * down, abs=6)  # one scale for both
        assert watched.complaints == []
