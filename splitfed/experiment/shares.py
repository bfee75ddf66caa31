"""Which images each client of a cell holds."""

from __future__ import annotations

from torch import Tensor

from splitfed import data
from splitfed.config.scenario import Scenario
from splitfed.data import Splits
from splitfed.federation.client import ClientImages
from splitfed.federation.order import SMALLEST_BATCH


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
