"""Which images a run was made on: recorded when it starts, and held against what is found when it goes on."""

from __future__ import annotations

from pathlib import Path

from splitfed.data.dataset import Dataset
from splitfed.data.locations import search_roots
from splitfed.errors import DataError
from splitfed.records.manifest import Provenance

WAY_OUT = (
    "Bring the images back as they were, name the folder that holds them with --data-root, or start a new run: results "
    "on other images do not belong into one table"
)


def provenance(dataset: Dataset, data_root: Path | None) -> Provenance:
    """The record of these images, its places absolute."""
    location = dataset.location and dataset.location.absolute()
    roots = [root.absolute() for root in search_roots(data_root)]  # as they are called: links may lead out of them
    return Provenance(
        name=dataset.name,
        synthetic=dataset.synthetic,
        identity=dataset.identity,
        images=len(dataset),
        image_size=dataset.shape.height,
        location=location,
        root=next((root for root in roots if location and location.is_relative_to(root)), None),
    )


def check_same(recorded: Provenance, found: Dataset, run: Path) -> None:
    """Refuse images other than those that a run was started on.

    Raises:
        DataError: names both, and the option that finds the right ones.
    """
    if found.identity == recorded.identity:
        return
    raise DataError(
        f"{run} was started on {recorded.images:,} images of {recorded.name}{_at(recorded.location)}; found "
        f"{len(found):,} of {found.name}{_at(found.location)}, which are not the same ones (identity "
        f"{recorded.identity[:12]}, found {found.identity[:12]}). {WAY_OUT}"
    )


def _at(location: Path | None) -> str:
    return "" if location is None else f" at {location}"
