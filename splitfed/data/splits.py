"""Disjoint training, auxiliary and test images, chosen by content so that no picture is in two of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitfed.data.dataset import Dataset
from splitfed.errors import DataError
from splitfed.seeding import seed_for
from splitfed.types import Images


@dataclass(frozen=True)
class Splits:
    """Images with no picture in common.

    Attributes:
        train: the clients' private images.
        aux: the attacker's own images, of the same distribution.
        test: held out for accuracy and for the trivial predictors.
        duplicates: images of the data set that were left out because another one is equal pixel by pixel.
    """

    train: Images
    aux: Images
    test: Images
    duplicates: int


def split(dataset: Dataset, *, train: int, aux: int, test: int, seed: int) -> Splits:
    """Choose this many images for each part, class-balanced as far as the classes reach.

    Each part gets the same share of every class, give or take one image. The same seed gives the same images
    in the same order; within a part their order is random.

    Raises:
        DataError: fewer distinct images than asked for, or a negative or empty part.
    """
    wanted = {"train": train, "aux": aux, "test": test}
    for part, count in wanted.items():
        if count < (1 if part == "train" else 0):
            raise DataError(f"split: {part} is {count}; expected a number of images")
    distinct = distinct_images(dataset.pixels)
    total = sum(wanted.values())
    if total > len(distinct):
        raise DataError(
            f"{dataset.name} has {len(distinct):,} distinct images ({len(dataset):,} less "
            f"{len(dataset) - len(distinct):,} duplicates), but {' + '.join(f'{p} {n:,}' for p, n in wanted.items())} "
            f"= {total:,}; ask for fewer"
        )
    rng = np.random.default_rng(seed_for(seed, "split"))
    chosen = _interleave(dataset.labels, rng.permutation(distinct), total)
    parts = [rng.permutation(part) for part in np.split(chosen, [train, train + aux])]
    private, auxiliary, held_out = (dataset.take(part) for part in parts)
    return Splits(private, auxiliary, held_out, duplicates=len(dataset) - len(distinct))


def distinct_images(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The positions of the images without their later copies, in order; pixels (N, C, H, W)."""
    first: dict[bytes, int] = {}
    for row, image in enumerate(pixels):
        first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), row)
    return np.fromiter(first.values(), np.int64, len(first))


def _interleave(labels: NDArray[np.int64], order: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """``total`` of the positions in ``order``, arranged so that every stretch holds the classes in equal shares."""
    by_class = [order[labels[order] == label] for label in np.unique(labels)]
    quotas = _equal_quotas([len(rows) for rows in by_class], total)
    rows = np.concatenate([rows[:quota] for rows, quota in zip(by_class, quotas, strict=True)])
    # Image i of a class with quota q stands at (i + 1/2) / q of the way: any stretch of the whole then holds
    # its proportional number of each class, to within one.
    position = np.concatenate([(np.arange(quota) + 0.5) / max(quota, 1) for quota in quotas])
    return np.asarray(rows[np.argsort(position, kind="stable")])


def _equal_quotas(available: list[int], total: int) -> list[int]:
    """As equal numbers per class as there are images: small classes give all, the others share the rest.

    >>> _equal_quotas([10, 2, 10], 15)
    [7, 2, 6]
    """
    quotas = [0] * len(available)
    smallest_first = sorted(range(len(available)), key=lambda index: available[index])
    for position, index in enumerate(smallest_first):
        classes_left = len(available) - position
        quotas[index] = min(available[index], -(-(total - sum(quotas)) // classes_left))
    return quotas
