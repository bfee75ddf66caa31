"""What a run would read, without running it: `splitfed data check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitfed.data.clusters import near_duplicates
from splitfed.data.dataset import Dataset
from splitfed.data.registry import load, sources
from splitfed.data.source import PARTS, Progress, Selection
from splitfed.data.splits import contradictory_copies, distinct_images
from splitfed.errors import DataError
from splitfed.files import as_path
from splitfed.types import NEAR_DB

FALLBACK_SIZE = 64
"""Edge in pixels at which files of several sizes are looked at, where the user has chosen none."""
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Inspection:
    """What is there, and what a split would have to know.

    Attributes:
        dataset: as it would be read.
        duplicates: images that equal an earlier one pixel by pixel; a split leaves them out.
        contradictory: of these, those with another label than the image that they equal.
        near_images: distinct images that nearly equal another one.
        near_clusters: how many clusters these make.
        near_largest: images in the largest cluster.
        unfit: why it cannot be read without a further option; empty if it can.
    """

    dataset: Dataset
    duplicates: int
    contradictory: int
    near_images: int
    near_clusters: int
    near_largest: int
    unfit: str = ""

    def rows(self) -> Rows:
        """What to show: a name and a sentence each."""
        dataset, found = self.dataset, self.dataset.found
        shape = dataset.shape
        rows = [
            ("data set", f"{dataset.name}: {dataset.note}"),
            ("location", str(dataset.location or "drawn, or shipped with a package")),
            (
                "images",
                f"{len(dataset):,} {'gray' if shape.channels == 1 else 'RGB'}, {shape.height}×{shape.width} pixels",
            ),
            (f"{len(dataset.classes):,} classes", _counts(dataset.counts)),
            ("patients, groups", self._groups()),
            ("published parts", self._parts()),
            ("sizes of files", _counts(found.sizes)),
            ("bit depths", _counts(found.depths)),
            ("skipped files", _counts(found.skipped) or "none"),
            ("duplicates", f"{self.duplicates:,} images equal another one pixel by pixel; every split leaves them out"),
            ("contradictions", f"{self.contradictory:,} of these have another label" if self.contradictory else ""),
            ("near-duplicates", self._near()),
            ("caveat", dataset.caveat),
            *(("decided", remark) for remark in found.remarks),
            ("needs", self.unfit),
        ]
        return [(name, text) for name, text in rows if text]

    def _groups(self) -> str:
        if self.dataset.groups is None:
            return "none known: images are split one by one"
        _, sizes = np.unique(self.dataset.groups, return_counts=True)
        return f"{len(sizes):,}, of {sizes.min():,} to {sizes.max():,} images; each stays on one side of a split"

    def _parts(self) -> str:
        if self.dataset.parts is None:
            return ""
        return _counts(dict(zip(PARTS, np.bincount(self.dataset.parts, minlength=3).tolist(), strict=True)))

    def _near(self) -> str:
        if not self.near_images:
            return f"none: no two images are within {NEAR_DB:g} dB of each other"
        return (
            f"{self.near_images:,} images in {self.near_clusters:,} clusters (the largest of {self.near_largest:,}) "
            f"are within {NEAR_DB:g} dB of another one; where a split has them on both sides, the attacker knows a "
            "victim's image already"
        )


def inspect(
    target: str,
    *,
    image_size: int | None = None,
    attribute: str | None = None,
    selection: Selection | None = None,
    data_root: Path | str | None = None,
    on_progress: Progress | None = None,
) -> Inspection:
    """Read a data set by name, or a folder, archive or .npz by its path, and look at it.

    Args:
        target: a data set's name, or a path; where both exist, the path.
        image_size: edge in pixels; by default the data set's own, for files of several sizes 64.
        attribute: see `load`.
        selection: see `load`.
        data_root: where to look first.
        on_progress: told (what, done, total).

    Raises:
        DataError: it cannot be read; the message says why and what decides.
    """
    progress = on_progress or (lambda *_: None)
    own = as_path(target).exists() or target not in sources()
    name, path = ("folder", Path(target)) if own else (target, None)

    def read(at: int | None) -> Dataset:
        return load(
            name,
            image_size=at,
            path=path,
            attribute=attribute,
            selection=selection,
            data_root=data_root,
            on_progress=progress,
        )

    unfit = ""
    try:
        dataset = read(image_size)
    except DataError as error:
        if image_size is not None or not own:
            raise
        dataset = read(FALLBACK_SIZE)  # where this is no question of size, it fails in the same way
        unfit = f"data.image_size: {error}"
    rows = distinct_images(dataset)
    near = np.bincount(near_duplicates(dataset.pixels, progress, rows=rows))
    clusters = near[near > 1]
    return Inspection(
        dataset=dataset,
        duplicates=len(dataset) - len(rows),
        contradictory=contradictory_copies(dataset),
        near_images=int(clusters.sum()),
        near_clusters=len(clusters),
        near_largest=int(clusters.max(initial=0)),
        unfit=unfit,
    )


def _counts(counts: Mapping[str, int]) -> str:
    """``{"a": 1200}`` as ``a 1,200``."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
