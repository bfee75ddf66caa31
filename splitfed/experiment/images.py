"""The images of a run: loaded and split, the same ones each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from splitfed import data
from splitfed.config.scenario import Scenario
from splitfed.data import Dataset, Splits
from splitfed.data.splits import absent_classes
from splitfed.errors import DataError
from splitfed.experiment.provenance import WAY_OUT, check_same
from splitfed.federation.shares import find_images, split_images
from splitfed.records import events
from splitfed.records.bus import Bus
from splitfed.records.manifest import Provenance
from splitfed.records.store import RunStore


def load_images(
    scenario: Scenario, data_root: Path | None, bus: Bus, *, of_run: RunStore | None = None
) -> tuple[Dataset, Splits]:
    """The scenario's images, split for its first seed; the same ones each time.

    Args:
        scenario: says which images; none where the clients hold the truth.
        data_root: where to look first.
        bus: told of a fallback and of progress.
        of_run: a run that was started on them before: then no fallback stands in, and other images are refused.

    Raises:
        DataError: they cannot be found, are fewer than the scenario wants, or are not those of the run.
    """
    if scenario.truth == "clients":
        return no_images(scenario)
    dataset = _load_new(scenario, data_root, bus) if of_run is None else _load_again(scenario, data_root, bus, of_run)
    splits = split_images(scenario, dataset, scenario.seed)
    for absent in absent_classes(splits):
        bus.emit(events.Notice(message=f"{absent}: scores say nothing of it", level="warning"))
    return dataset, splits


def no_images(scenario: Scenario) -> tuple[Dataset, Splits]:
    """What a lab holds whose clients hold the truth."""
    dataset = Dataset(
        name=scenario.data.name,
        pixels=np.zeros((0, 0, 0, 0), np.uint8),
        labels=np.zeros(0, np.int64),
        classes=(),
        synthetic=False,
        note="images that the clients hold and the lab does not",
    )
    none = dataset.take(np.zeros(0, np.int64))
    return dataset, Splits(train=none, aux=none, test=none, duplicates=0)


def _load_new(scenario: Scenario, data_root: Path | None, bus: Bus) -> Dataset:
    return find_images(
        scenario,
        data_root,
        on_notice=lambda message: bus.emit(events.Notice(message=message, level="banner")),
        on_progress=_Throttled(bus),
    )


def _load_again(scenario: Scenario, data_root: Path | None, bus: Bus, run: RunStore) -> Dataset:
    """The images that a run was started on, from where they were found unless the user names another place."""
    recorded = run.manifest.images
    options = scenario.data
    own = recorded.name == options.name
    try:
        dataset = data.load(
            recorded.name,
            image_size=options.image_size if own else recorded.image_size,
            data_root=data_root or (recorded.root if recorded.root and recorded.root.is_dir() else None),
            path=_path_again(options.path, data_root, recorded) if own else None,
            attribute=options.attribute if own else None,
            selection=options.selection if own else None,
            on_progress=_Throttled(bus),
        )
    except DataError as error:
        where = f" at {recorded.location}" if recorded.location else ""
        raise DataError(
            f"{run.path} was started on {recorded.images:,} images of {recorded.name}{where}: {error}. {WAY_OUT}"
        ) from error
    check_same(recorded, dataset, run.path)
    return dataset


def _path_again(path: str | None, data_root: Path | None, recorded: Provenance) -> Path | None:
    """The scenario's path; where it was found before, if that is still there and no other place is named."""
    if path is None or data_root is not None or recorded.location is None or not recorded.location.exists():
        return None if path is None else Path(path)
    return recorded.location


class _Throttled:
    """Progress of decoding or downloading as events, one per percent."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._last = ("", -1)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = (what, 100 * done // max(total, 1))
        if now != self._last:
            self._last = now
            self._bus.emit(events.PrepareProgress(cell="data", what=what, done=done, total=total))
