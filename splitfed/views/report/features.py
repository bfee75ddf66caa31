"""The features after two layers of three kinds, as points in a plane, with what the picture cannot say beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from splitfed.records import features as feature_record
from splitfed.views.report.page import PageRow, PageTable
from splitfed.views.text import number, percent

if TYPE_CHECKING:
    from pathlib import Path

    from splitfed.records.features import FeatureRecord, NetworkFeatures

TITLE = "Features of two layers"
_READING = (
    "A picture proves nothing: the table is measured in the features themselves, before UMAP. Nearest neighbors say "
    "how far images of a class lie together. The individual image is another matter: a ridge regression turns the "
    "features back into pixels, fitted on images that are not among those shown. Whether classes form clusters says "
    "nothing about that, and so nothing about privacy; above the class mean's PSNR the individual leaks. Ridge is the "
    "simplest attack and uses no knowledge of the layers, so it is a lower bound: sparse codes give more to who knows "
    "their dictionaries. And layers with more features have more room for all of this."
)


class FeatureSection(NamedTuple):
    """What the page says of the features: the embeddings, what stands below them, and the scores."""

    title: str
    figure: dict[str, Any]
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
    return FeatureSection(TITLE, figure(record), caption(record), scores(record), _READING)


def figure(record: FeatureRecord) -> dict[str, Any]:
    """The embeddings as `charts/static/embedding.js` takes them: one panel per network, points by image."""
    return {
        "kind": "embedding",
        "title": f"UMAP of features after {', '.join(network.layers for network in record.networks)}",
        "classes": record.classes,
        "labels": record.labels,
        "panels": [{"title": network.layers, "points": network.points} for network in record.networks],
    }


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
