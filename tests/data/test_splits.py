"""Splits share no picture and keep the classes balanced; partitions cover everything once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitfed.data import Dataset, load, partition, split
from splitfed.data.splits import absent_classes, contradictory_copies
from splitfed.errors import DataError
from splitfed.types import NEAR_DB, Images


def _dataset(labels: list[int], copies: int = 0) -> Dataset:
    """Distinct pictures with these labels; the first ``copies`` of them appear again at the end, relabeled."""
    count = len(labels)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)
    pixels = np.concatenate([pixels, pixels[:copies]])
    with_copies = np.array(labels + [0] * copies, np.int64)
    return Dataset("made_up", pixels, with_copies, ("a", "b", "c"), False, "")


def _hashes(images: Images) -> set[bytes]:
    return set(images.content_hashes())


def test_no_picture_is_in_two_parts_though_the_data_have_copies() -> None:
    data = _dataset([0, 1, 2] * 20, copies=40)
    parts = split(data, train=20, aux=20, test=20, seed=0)
    train, aux, test = _hashes(parts.train), _hashes(parts.aux), _hashes(parts.test)
    assert len(train) == len(aux) == len(test) == 20
    assert not train & aux
    assert not train & test
    assert not aux & test
    assert parts.duplicates == 40


def test_of_copies_the_first_is_kept() -> None:
    data = _dataset([1, 2, 1, 2], copies=4)  # the copies are labeled 0
    parts = split(data, train=4, aux=0, test=0, seed=0)
    assert sorted(parts.train.labels.tolist()) == [1, 1, 2, 2]


def test_images_come_out_as_floats_of_the_same_pixels() -> None:
    data = _dataset([0, 1, 2] * 4)
    images = split(data, train=12, aux=0, test=0, seed=0).train
    assert images.pixels.dtype == torch.float32
    assert images.labels.dtype == torch.int64
    assert 0 <= float(images.pixels.min()) < float(images.pixels.max()) <= 1
    originals = {pixels.tobytes(): int(label) for pixels, label in zip(data.pixels, data.labels, strict=True)}
    for pixels, label in zip((images.pixels * 255).round().byte().numpy(), images.labels, strict=True):
        assert originals[pixels.tobytes()] == int(label)


@settings(deadline=None, max_examples=40)
@given(
    counts=st.tuples(*[st.integers(0, 30)] * 3),
    shares=st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 5),
)
def test_every_part_has_the_same_shares_of_the_classes(
    counts: tuple[int, int, int], shares: tuple[int, int, int], seed: int
) -> None:
    data = _dataset([label for label, count in enumerate(counts) for _ in range(count)])
    if sum(shares) > len(data):
        with pytest.raises(DataError, match="distinct images"):
            split(data, train=shares[0], aux=shares[1], test=shares[2], seed=seed)
        return
    parts = split(data, train=shares[0], aux=shares[1], test=shares[2], seed=seed)
    got = np.array([np.bincount(part.labels, minlength=3) for part in (parts.train, parts.aux, parts.test)])
    assert got.sum(1).tolist() == list(shares)
    assert (got.sum(0) <= counts).all()
    chosen = got.sum(0)
    short = chosen < np.array(counts)  # classes that could have given more: none of them gave less than others
    assert not short.any() or chosen[short].min() >= chosen.max() - 1
    expected = np.outer(shares, chosen) / sum(shares)
    assert np.abs(got - expected).max() < 2


def test_a_split_repeats_under_its_seed() -> None:
    data = _dataset([0, 1, 2] * 20)
    first, again, other = (split(data, train=30, aux=20, test=10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.train.pixels, again.train.pixels)
    assert torch.equal(first.test.labels, again.test.labels)
    assert not torch.equal(first.train.pixels, other.train.pixels)


def test_too_few_images_show_the_arithmetic() -> None:
    data = _dataset([0, 1, 2] * 20, copies=10)
    with pytest.raises(
        DataError, match=r"60 distinct images \(70 less 10 duplicates\).*train 50 \+ aux 8 \+ test 3 = 61"
    ):
        split(data, train=50, aux=8, test=3, seed=0)
    with pytest.raises(DataError, match="train is 0"):
        split(data, train=0, aux=8, test=3, seed=0)
    with pytest.raises(DataError, match="aux is -1"):
        split(data, train=1, aux=-1, test=3, seed=0)


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    clients=st.integers(1, 8),
    scheme=st.sampled_from(["iid", "dirichlet", "by_class"]),
    seed=st.integers(0, 3),
)
def test_a_partition_covers_everything_once(labels: list[int], clients: int, scheme: str, seed: int) -> None:
    known = torch.tensor(labels)
    if clients > len(labels):
        with pytest.raises(DataError, match="expected 1 to"):
            partition(known, clients=clients, seed=seed, scheme=scheme)
        return
    try:
        parts = partition(known, clients=clients, seed=seed, scheme=scheme, alpha=5.0)
    except DataError as error:  # a handful of images over as many clients
        assert scheme == "dirichlet"
        assert "none gave each" in str(error)  # noqa: PT017
        return
    assert len(parts) == clients
    assert all(len(part) and part.dtype == torch.int64 for part in parts)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))
    again = partition(known, clients=clients, seed=seed, scheme=scheme, alpha=5.0)
    assert all(torch.equal(one, two) for one, two in zip(parts, again, strict=True))


def test_schemes_are_as_skewed_as_they_say() -> None:
    labels = load("digits").take(np.arange(1797)).labels

    def classes_per_client(scheme: str, alpha: float = 0.5) -> float:
        parts = partition(labels, clients=5, seed=0, scheme=scheme, alpha=alpha)
        shares = np.array([np.bincount(labels[part], minlength=10) / len(part) for part in parts])
        return float((1 / (shares**2).sum(1)).mean())  # the effective number of classes

    assert classes_per_client("iid") > 9.5
    assert classes_per_client("dirichlet", 100) > 9
    assert 2 < classes_per_client("dirichlet", 0.3) < 7
    assert classes_per_client("by_class") < 3.1
    sizes = [len(part) for part in partition(labels, clients=5, seed=0)]
    assert max(sizes) - min(sizes) <= 1


def test_no_client_gets_fewer_images_than_it_can_train_on() -> None:
    labels = load("digits").take(np.arange(480)).labels
    skewed = {"clients": 8, "seed": 22, "scheme": "dirichlet", "alpha": 0.1}
    free = partition(labels, **skewed)  # type: ignore[arg-type]
    assert min(map(len, free)) == 1
    trainable = partition(labels, **skewed, at_least=2)  # type: ignore[arg-type]
    assert min(map(len, trainable)) >= 2
    assert sorted(torch.cat(trainable).tolist()) == list(range(480))


@pytest.mark.parametrize("scheme", ["iid", "by_class"])
def test_even_shares_are_as_large_as_asked_for(scheme: str) -> None:
    labels = torch.tensor([0, 1, 2] * 3)
    assert min(map(len, partition(labels, clients=4, seed=0, scheme=scheme, at_least=2))) == 2
    with pytest.raises(DataError, match="5 clients over 9 images, at least 2 images each; expected 1 to 4 clients"):
        partition(labels, clients=5, seed=0, scheme=scheme, at_least=2)


def test_shares_that_no_draw_makes_large_enough_are_refused_with_the_way_out() -> None:
    labels = torch.zeros(20, dtype=torch.int64)
    with pytest.raises(DataError, match=r"none gave each of 8 clients at least 2 images; raise alpha or have fewer"):
        partition(labels, clients=8, seed=0, scheme="dirichlet", alpha=0.05, at_least=2)


def test_bad_partitions() -> None:
    labels = torch.tensor([0, 1, 2])
    with pytest.raises(DataError, match="did you mean 'dirichlet'"):
        partition(labels, clients=2, seed=0, scheme="dirichlt")
    with pytest.raises(DataError, match="0 clients over 3 images"):
        partition(labels, clients=0, seed=0)
    with pytest.raises(DataError, match="alpha is 0"):
        partition(labels, clients=2, seed=0, scheme="dirichlet", alpha=0)


def _grouped(groups: list[int], labels: list[int]) -> Dataset:
    data = _dataset(labels)
    return replace(data, groups=np.array(groups, np.int64))


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=25),
    shares=st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)),
    seed=st.integers(0, 3),
)
def test_no_group_is_in_two_parts_whatever_their_sizes(
    sizes: list[int], shares: tuple[int, int, int], seed: int
) -> None:
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    data = _grouped(groups, [position % 3 for position in range(len(groups))])
    try:
        parts = split(data, train=shares[0], aux=shares[1], test=shares[2], seed=seed)
    except DataError as error:
        assert "ask for fewer" in str(error)  # noqa: PT017
        return
    found = [
        set(images.groups.tolist()) for images in (parts.train, parts.aux, parts.test) if images.groups is not None
    ]
    assert len(set.union(*found)) == sum(map(len, found))
    assert (len(parts.train), len(parts.aux), len(parts.test)) == shares


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [([1] * 260, (100, 53, 107)), ([900] + [1] * 100, (50, 800, 50)), ([300] + [1] * 150, (200, 50, 50))],
)
def test_groups_of_extreme_sizes_are_placed_where_they_can_be(sizes: list[int], shares: tuple[int, int, int]) -> None:
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    data = _grouped(groups, [position % 2 for position in range(len(groups))])
    parts = split(data, train=shares[0], aux=shares[1], test=shares[2], seed=0)
    assert (len(parts.train), len(parts.aux), len(parts.test)) == shares


def test_equal_images_tie_their_groups_together() -> None:
    data = _grouped(list(range(30)), [0, 1] * 15)
    pixels = data.pixels.copy()
    pixels[7] = pixels[3]  # one patient under two names
    tied = replace(data, pixels=pixels)
    for seed in range(8):
        parts = split(tied, train=14, aux=8, test=7, seed=seed)
        found = [
            set(images.groups.tolist()) for images in (parts.train, parts.aux, parts.test) if images.groups is not None
        ]
        assert not any(
            len({3, 7} & one) and len({3, 7} & other) for one in found for other in found if one is not other
        )


def _near(one: Images, other: Images) -> bool:
    """Whether an image of the one nearly equals one of the other."""
    squares = torch.cdist(one.pixels.flatten(1), other.pixels.flatten(1)).square() / one.pixels[0].numel()
    return bool((squares <= 10 ** (-NEAR_DB / 10)).any())


@pytest.mark.parametrize("seed", range(4))
def test_no_image_has_a_near_duplicate_in_another_part_where_that_is_asked_for(seed: int) -> None:
    rng = np.random.default_rng(seed)
    originals = rng.integers(8, 248, (20, 1, 6, 6))
    near = originals[:, None] + rng.integers(-3, 4, (20, 4, 1, 6, 6))  # five of each, at 38 dB or so
    pixels = np.concatenate([originals[:, None], near], axis=1).reshape(-1, 1, 6, 6).astype(np.uint8)
    data = replace(_dataset([0, 1] * 50), pixels=pixels)
    apart = split(data, train=40, aux=30, test=20, seed=seed, by="near_duplicate")
    mixed = split(data, train=40, aux=30, test=20, seed=seed)
    assert _near(mixed.train, mixed.aux)
    pairs = ((apart.train, apart.aux), (apart.train, apart.test), (apart.aux, apart.test))
    assert not any(_near(one, other) for one, other in pairs)
    assert [len(part) for part in (apart.train, apart.aux, apart.test)] == [40, 30, 20]


@pytest.mark.parametrize("wanted", [10, 60])
def test_near_duplicates_are_kept_apart_also_where_few_of_many_images_are_wanted(wanted: int) -> None:
    """Chains of five: of a few images, looked for among twice as many, or all that a first look leaves too few of."""
    rng = np.random.default_rng(5)
    originals = rng.integers(8, 248, (200, 1, 6, 6))
    near = originals[:, None] + rng.integers(-3, 4, (200, 4, 1, 6, 6))
    pixels = np.concatenate([originals[:, None], near], axis=1).reshape(-1, 1, 6, 6).astype(np.uint8)
    data = replace(_dataset([0, 1] * 500), pixels=pixels)
    parts = split(data, train=wanted, aux=wanted, test=wanted, seed=0, by="near_duplicate")
    assert [len(part) for part in (parts.train, parts.aux, parts.test)] == [wanted] * 3
    assert not any(
        _near(*pair) for pair in ((parts.train, parts.aux), (parts.train, parts.test), (parts.aux, parts.test))
    )
    again = split(data, train=wanted, aux=wanted, test=wanted, seed=0, by="near_duplicate")
    assert torch.equal(again.train.pixels, parts.train.pixels)


def test_copies_with_another_label_and_absent_classes_are_said() -> None:
    assert contradictory_copies(_dataset([1, 2, 0, 2], copies=4)) == 3  # the copies are labeled 0
    data = _grouped([0] * 20 + list(range(1, 41)), [1] * 20 + [0] * 40)  # all of class 1 is one patient's
    said = absent_classes(split(data, train=20, aux=10, test=10, seed=0))
    assert "no test image is of class b, c" in said
