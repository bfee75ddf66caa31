"""Disjoint training, auxiliary and test images, chosen by content so that no picture is in two of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitfed.data.clusters import connected, near_duplicates
from splitfed.data.dataset import Dataset
from splitfed.data.source import PARTS
from splitfed.errors import DataError
from splitfed.seeding import seed_for
from splitfed.types import Images


@dataclass(frozen=True)
class Splits:
    """Images with no picture in common.

    Attributes:
        train: the clients' private images.
        aux: the attacker's own images, of the same distribution.
        test: held out for accuracy and for the baselines.
        duplicates: images of the data set that were left out because another one is equal pixel by pixel.
    """

    train: Images
    aux: Images
    test: Images
    duplicates: int


Pools = dict[str, NDArray[np.int64]]
"""The positions that each part may be chosen from, in random order."""


def split(dataset: Dataset, *, train: int, aux: int, test: int, seed: int, by: str = "content") -> Splits:
    """Choose this many images for each part, class-balanced as far as the classes reach.

    Each part gets the same share of every class, give or take one image. The same seed gives the same images
    in the same order; within a part their order is random. Where groups are known (patients, say), all images of a
    group are in one part or left out; the shares of the classes are then as even as the groups allow.

    Args:
        dataset: what to choose from.
        train: the clients' images.
        aux: the attacker's images.
        test: held-out images.
        seed: of the choice.
        by: ``content`` pools published parts; ``near_duplicate`` does so too, and keeps images that nearly equal each
            other in one part (`clusters.near_duplicates`), whole chains of them; ``folders`` chooses the clients'
            images from the published training part, and the attacker's and the held-out images from the other parts.

    Raises:
        DataError: fewer distinct images than asked for, a negative or empty part, or no published parts.
    """
    wanted = {"train": train, "aux": aux, "test": test}
    for part, count in wanted.items():
        if count < (1 if part == "train" else 0):
            raise DataError(f"split: {part} is {count}; expected a number of images")
    distinct = distinct_images(dataset)
    rng = np.random.default_rng(seed_for(seed, "split"))
    if by == "content" and dataset.groups is None:
        chosen = _whole(dataset, distinct, wanted, rng)
    else:
        chosen = _apart(dataset, distinct, wanted, by, rng)
    private, auxiliary, held_out = (dataset.take(rng.permutation(rows)) for rows in chosen)
    return Splits(private, auxiliary, held_out, duplicates=len(dataset) - len(distinct))


def _whole(
    dataset: Dataset, distinct: NDArray[np.int64], wanted: dict[str, int], rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """All parts out of one pool, so that each has the same share of every class."""
    total = sum(wanted.values())
    if total > len(distinct):
        raise DataError(
            f"{dataset.name} has {len(distinct):,} distinct images ({len(dataset):,} less "
            f"{len(dataset) - len(distinct):,} duplicates), but {' + '.join(f'{p} {n:,}' for p, n in wanted.items())} "
            f"= {total:,}; ask for fewer"
        )
    chosen = _interleave(dataset.labels, rng.permutation(distinct), total)
    return np.split(chosen, [wanted["train"], wanted["train"] + wanted["aux"]])


PLENTY = 2
"""Times as many images as are wanted, among which near-duplicates are looked for first: the time grows with the square
of their number. On Medical MNIST 13,500 of 59,000 images are split in half of it."""


def _apart(
    dataset: Dataset, distinct: NDArray[np.int64], wanted: dict[str, int], by: str, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """The parts, each out of a pool of its own."""

    def dealt(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        pools = _pools(dataset, rows, wanted, by, rng)
        return [_from_pool(dataset, part, rng.permutation(pools[part]), count) for part, count in wanted.items()]

    plenty = PLENTY * sum(wanted.values())
    if by == "near_duplicate" and plenty < len(distinct):
        # images that no part gets tie none together; the first ones are in each part's shares of the classes
        with suppress(DataError):
            return dealt(np.sort(_interleave(dataset.labels, rng.permutation(distinct), plenty)))
    return dealt(distinct)


def _pools(
    dataset: Dataset, distinct: NDArray[np.int64], wanted: dict[str, int], by: str, rng: np.random.Generator
) -> Pools:
    """A pool for each part, with no group in two of them."""
    rows = rng.permutation(distinct)
    groups = _groups(dataset, _chains(dataset, distinct) if by == "near_duplicate" else None)
    if by != "folders":
        return _deal(dataset.labels, groups, rows, wanted)
    if dataset.parts is None:
        raise DataError(
            f'{dataset.name}: data.split = "folders" needs images in folders named train and test (or arrays of such '
            "names), and found none; leave it out"
        )
    published = dataset.parts[rows] == PARTS.index("train")
    others = rows[~published]
    # whatever the publisher did, a group that is in train is nowhere else
    others = others[~np.isin(groups[others], groups[rows[published]])]
    held_out = _deal(dataset.labels, groups, others, {part: wanted[part] for part in ("aux", "test")})
    return {"train": rows[published], **held_out}


def _groups(dataset: Dataset, chains: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The group of every image; equal images tie their groups together, and so do chains of near-duplicates. Without
    any of these each picture is its own."""
    _, picture = np.unique(dataset.digests, return_inverse=True)
    found = np.asarray(picture, np.int64)
    for others in (dataset.groups, chains):
        if others is not None:
            _, group = np.unique(others, return_inverse=True)
            first = found.max(initial=-1) + 1
            found = connected((found, first + group), int(first + group.max(initial=-1) + 1))[found]
    return found


def _chains(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number per image that is equal for those of these rows, and copies of them, that nearly equal each other,
    directly or through others; each other picture has its own."""
    _, first, picture = np.unique(dataset.digests, return_index=True, return_inverse=True)
    place = len(rows) + np.arange(len(dataset), dtype=np.int64)
    place[rows] = near_duplicates(dataset.pixels, lambda *_: None, rows=rows)
    return place[first[picture]]


def _deal(
    labels: NDArray[np.int64], groups: NDArray[np.int64], rows: NDArray[np.int64], wanted: dict[str, int]
) -> Pools:
    """Give whole groups to the parts, the largest first: to one that still needs as many images, if there is one, and
    among these to the one that lacks its classes most. What all needs are met without makes the classes more even."""
    members: dict[int, list[int]] = {}
    for row in rows.tolist():
        members.setdefault(int(groups[row]), []).append(row)
    asked = {part: count for part, count in wanted.items() if count}
    pools: dict[str, list[int]] = {part: [] for part in wanted}
    classes = int(labels.max(initial=0)) + 1
    held = {part: np.zeros(classes) for part in asked}
    for group in sorted(members.values() if asked else (), key=len, reverse=True):
        content = np.bincount(labels[group], minlength=classes)
        part = _neediest(asked, held, content)
        held[part] += content
        pools[part] += group
    return {part: np.array(pool, np.int64) for part, pool in pools.items()}


def _neediest(asked: dict[str, int], held: dict[str, NDArray[np.float64]], content: NDArray[np.int64]) -> str:
    """The part that a group with so many images of each class goes to."""
    needs = {part: count - held[part].sum() for part, count in asked.items()}
    fitting = [part for part in asked if needs[part] >= content.sum()]
    if not fitting and max(needs.values()) > 0:
        return max(asked, key=lambda part: needs[part])
    return min(
        fitting or asked, key=lambda part: (float(held[part] @ content) / asked[part], held[part].sum() / asked[part])
    )


def _from_pool(dataset: Dataset, part: str, pool: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if count > len(pool):
        unit = "a patient or other group" if dataset.groups is not None else "an image or a near-duplicate"
        raise DataError(
            f"{dataset.name}: {part} = {count:,} images, but only {len(pool):,} distinct ones were found for it so "
            f"that no part shares {unit} with another; ask for fewer"
        )
    return _interleave(dataset.labels, pool, count)


def distinct_images(dataset: Dataset) -> NDArray[np.int64]:
    """The positions of the images without their later copies, in order."""
    _, first = np.unique(dataset.digests, return_index=True)
    return np.sort(first)


def contradictory_copies(dataset: Dataset) -> int:
    """How many images equal an earlier one pixel by pixel and have another label."""
    _, first, picture = np.unique(dataset.digests, return_index=True, return_inverse=True)
    return int((dataset.labels != dataset.labels[first[picture]]).sum())


def absent_classes(splits: Splits) -> list[str]:
    """Sentences on classes of which a part of the split has no image at all."""
    said = []
    for part in ("train", "aux", "test"):
        images: Images = getattr(splits, part)
        absent = sorted({*range(len(images.classes))} - {*images.labels.tolist()})
        if absent and len(images):
            names = ", ".join(images.classes[label] for label in absent[:6])
            said.append(f"no {part} image is of class {names}{' and others' * (len(absent) > 6)}")
    return said


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
