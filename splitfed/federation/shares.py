"""The images of a scenario: found, split, and which of them each client of a cell holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from splitfed import data
from splitfed.config.scenario import Scenario
from splitfed.data import Dataset, Splits
from splitfed.federation.client import ClientImages
from splitfed.federation.order import SMALLEST_BATCH


def find_images(
    scenario: Scenario,
    data_root: Path | None,
    *,
    on_notice: Callable[[str], None],
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Dataset:
    """The scenario's images, or the stand-in that it names.

    Args:
        scenario: says which images.
        data_root: where to look first.
        on_notice: told where a stand-in is taken.
        on_progress: told of what is done, how much of it, and of how much.

    Raises:
        DataError: they cannot be found.
    """
    options = scenario.data
    return data.load(
        options.name,
        image_size=options.image_size,
        data_root=data_root,
        fallback=options.fallback,
        path=Path(options.path) if options.path else None,
        attribute=options.attribute,
        selection=options.selection,
        on_notice=on_notice,
        on_progress=on_progress,
    )


def split_seed(scenario: Scenario, seed: int) -> int:
    """The seed of the split for cells of this seed."""
    return seed if scenario.data.resplit else scenario.seed


def split_images(scenario: Scenario, dataset: Dataset, seed: int) -> Splits:
    """The victims' images, the attacker's own and the held-out ones for cells of this seed, the same each time.

    Raises:
        DataError: there are fewer than the scenario wants.
    """
    options = scenario.data
    return data.split(
        dataset,
        train=options.train,
        aux=options.aux,
        test=options.test,
        seed=split_seed(scenario, seed),
        by=options.split,
    )


def own_positions(scenario: Scenario, labels: Tensor, seed: int) -> list[Tensor]:
    """Which of the training images with these labels each client holds, enough to train on.

    Raises:
        DataError: they cannot be shared so.
    """
    return data.partition(
        labels,
        clients=scenario.federation.clients,
        seed=seed,
        scheme=scenario.data.partition,
        alpha=scenario.data.alpha,
        at_least=SMALLEST_BATCH,
    )


def shares(scenario: Scenario, splits: Splits, seed: int) -> list[ClientImages]:
    """Each client's own training images and its share of the held-out ones."""
    own = own_positions(scenario, splits.train.labels, seed)
    held_out = data.partition(splits.test.labels, clients=scenario.federation.clients, seed=seed, scheme="iid")
    return [ClientImages(splits.train[a], splits.test[b]) for a, b in zip(own, held_out, strict=True)]
