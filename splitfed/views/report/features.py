"""The features after two layers of three kinds, as points in a plane, with what the picture cannot say beside it.

Classes differ by color and by marker, so that they can be told apart in gray too.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from splitfed.records import features as feature_record
from splitfed.views.report.page import PageRow, PageTable
from splitfed.views.report.plot import LETTER_PX, PALETTE
from splitfed.views.text import number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from splitfed.records.features import FeatureRecord, NetworkFeatures

TITLE = "Features of two layers"
WIDTH = 1082
PANEL, GAP, TOP, MARGIN = 344, 24, 26, 10
"""Edge of a panel, space between panels, height of a panel's title, space within it, in SVG units."""
LEGEND_ROW, LEGEND_MARKER, LEGEND_SPACE = 20, 14, 22
RADIUS = 2.6

_READING = (
    "A picture proves nothing: the table is measured in the features themselves, before UMAP. Nearest neighbors say "
    "how far images of a class lie together. The individual image is another matter: a ridge regression turns the "
    "features back into pixels, fitted on images that are not among those shown. Whether classes form clusters says "
    "nothing about that, and so nothing about privacy; above the class mean's PSNR the individual leaks. Ridge is the "
    "simplest attack and uses no knowledge of the layers, so it is a lower bound: sparse codes give more to who knows "
    "their dictionaries. And layers with more features have more room for all of this."
)


class PagePoint(NamedTuple):
    """A place in SVG units."""

    x: float
    y: float


class FeatureSection(NamedTuple):
    """What the page says of the features: the embeddings, what stands below them, and the scores."""

    title: str
    drawing: Markup
    caption: str
    scores: PageTable
    reading: str


def section(run: Path) -> FeatureSection | None:
    """The section on the features of the run in this directory; None where they were not measured.

    Raises:
        UserError: their record is damaged.
    """
    record = feature_record.load(run)
    if record is None:
        return None
    return FeatureSection(TITLE, drawing(record), caption(record), scores(record), _READING)


def drawing(record: FeatureRecord) -> Markup:
    """The embeddings side by side, the legend of the classes below them, as SVG."""
    legend, legend_height = _legend(record.classes)
    parts = [_panel(network, record.labels, column) for column, network in enumerate(record.networks)]
    title = escape(f"UMAP of features after {', '.join(network.layers for network in record.networks)}")
    height = TOP + PANEL + legend_height
    return Markup(f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">{"".join(parts)}{legend}</svg>')


def scores(record: FeatureRecord) -> PageTable:
    """What is kept of the class and of the individual, measured in the features."""
    rows = [PageRow(_score_cells(network)) for network in record.networks]
    known = ["class mean, from no features", "", "", "", number(record.class_mean_psnr_db, 1), ""]
    neighbors = record.settings.neighbors
    header = [
        "layers", "features per image", "test accuracy", f"{neighbors}-nearest-neighbor accuracy", "ridge PSNR dB",
        "re-identified by ridge",
    ]  # fmt: skip
    note = (
        f"Over the {len(record.labels):,} images shown; nearest neighbors leave the image itself out. Ridge "
        f"regression learned from {record.settings.ridge:,} auxiliary images. Re-identified by chance: "
        f"1 of {len(record.labels):,}."
    )
    return PageTable(header, [*rows, PageRow(known, "dim")], note)


def _score_cells(network: NetworkFeatures) -> list[str]:
    return [
        network.layers,
        f"{network.features:,}",
        number(network.accuracy, 3),
        number(network.knn_accuracy, 3),
        number(network.ridge_psnr_db, 1),
        percent(network.ridge_reid_top1),
    ]


def caption(record: FeatureRecord) -> str:
    """How the picture was made, and what it does not say."""
    made = record.settings
    umap = made.versions.get("umap-learn", "")
    return (
        f"After figure 6 of arXiv 2403.14772: features of {len(record.labels):,} held-out images behind two layers "
        f"of three classifiers, embedded by UMAP ({umap}, seeded, else its defaults). Each classifier has these layers "
        f"and one linear layer, and was trained by itself, outside the federation, on the run's {made.train:,} "
        f"training images: {made.optimizer} at {made.learning_rate:g}, {made.epochs} epochs, batches of "
        f"{made.batch_size}, seed {made.seed}, the same for all; convolutions and atoms {made.kernel_size}×"
        f"{made.kernel_size}, λ = {made.l1_weight:g}. UMAP keeps neighbors and distorts distances: how far "
        "clusters lie apart and how large they are means nothing, and axes have no unit."
    )


def _panel(network: NetworkFeatures, labels: Sequence[int], column: int) -> str:
    left = 1 + column * (PANEL + GAP)  # room for the frame's line
    title = f'<text class="axis" x="{left}" y="{TOP - 9}">{escape(network.layers)}</text>'
    frame = f'<rect class="grid" fill="none" x="{left}" y="{TOP}" width="{PANEL}" height="{PANEL}"/>'
    places = _places(network.points, PagePoint(left + PANEL / 2, TOP + PANEL / 2))
    return title + frame + "".join(_clouds(places, labels))


def _places(points: Sequence[tuple[float, float]], center: PagePoint) -> list[PagePoint]:
    """Where points lie in a panel around this center; one scale for both axes, upwards is up."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    span = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    scale = (PANEL - 2 * MARGIN) / span
    middle = PagePoint((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2)
    return [PagePoint(center.x + (x - middle.x) * scale, center.y - (y - middle.y) * scale) for x, y in points]


def _clouds(places: Sequence[PagePoint], labels: Sequence[int]) -> Iterator[str]:
    """One path per class, a marker at each of its places."""
    for label in sorted(set(labels)):
        own = (place for place, of in zip(places, labels, strict=True) if of == label)
        yield _markers(label, own)


def _markers(label: int, places: Iterator[PagePoint]) -> str:
    shape = _SHAPES[(label + label // _DISTINCT) % len(_SHAPES)]
    outline = "".join(f"M{x:.1f} {y:.1f}{shape}" for x, y in places)
    return f'<path class="c{label % PALETTE} mark" fill-opacity=".75" d="{outline}"/>'


def _legend(classes: Sequence[str]) -> tuple[str, int]:
    """Marker and name of each class in rows as wide as the figure, and their height."""
    parts, x, row = list[str](), 0.0, 1
    for label, name in enumerate(classes):
        width = LEGEND_MARKER + LETTER_PX * len(name) + LEGEND_SPACE
        if x and x + width > WIDTH:
            x, row = 0.0, row + 1
        y = TOP + PANEL + row * LEGEND_ROW
        parts.append(_markers(label, iter([PagePoint(x + LEGEND_MARKER / 2, y - 4)])))
        parts.append(f'<text class="axis" x="{x + LEGEND_MARKER:.0f}" y="{y}">{escape(name)}</text>')
        x += width
    return "".join(parts), row * LEGEND_ROW + 6


def _polygon(*corners: tuple[float, float]) -> str:
    """A closed path from the point where the pen is, in units of the radius, back to the beginning."""
    scaled = [(RADIUS * across, RADIUS * down) for across, down in corners]
    lines = (f"l{to[0] - at[0]:.1f} {to[1] - at[1]:.1f}" for at, to in pairwise(scaled))
    return f"m{scaled[0][0]:.1f} {scaled[0][1]:.1f}{''.join(lines)}z"


_SHAPES = (
    f"m-{RADIUS} 0a{RADIUS} {RADIUS} 0 1 0 {2 * RADIUS} 0a{RADIUS} {RADIUS} 0 1 0-{2 * RADIUS} 0z",
    _polygon((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    _polygon((0, -1.2), (1.2, 1), (-1.2, 1)),
    _polygon((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
)
"""Circle, square, triangle, diamond, as in `plot`."""
_DISTINCT = 12
"""Classes until color and marker come together again; then the markers move on by one."""
