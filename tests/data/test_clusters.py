"""Near-duplicates: the bound that rules pairs out loses none of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitfed.data.clusters import connected, near_duplicates


def brute_force(pixels: NDArray[np.uint8], near_db: float) -> NDArray[np.int64]:
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    squares = ((flat[:, None] - flat[None]) ** 2).mean(axis=2)
    left, right = np.nonzero(squares <= 255.0**2 * 10 ** (-near_db / 10))
    return connected((left, right), len(pixels))


def same_clusters(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 19), st.integers(1, 19)),
    near_db=st.sampled_from([20.0, 30.0, 35.0, 45.0]),
)
def test_the_same_clusters_as_by_comparing_every_pair(seed: int, shape: tuple[int, int, int], near_db: float) -> None:
    rng = np.random.default_rng(seed)
    originals = rng.integers(0, 256, (6, *shape))
    noise = rng.normal(0, 10 ** (-near_db / 20) * 255, (30, *shape)) * rng.uniform(0.2, 1.6, (30, 1, 1, 1))
    pixels = np.clip(originals[rng.integers(0, 6, 30)] + noise, 0, 255).round().astype(np.uint8)
    assert same_clusters(near_duplicates(pixels, lambda *_: None, near_db=near_db), brute_force(pixels, near_db))


def test_blank_images_and_very_many_pairs() -> None:
    """Images that all equal each other, over several blocks of rows and of pairs."""
    pixels = np.zeros((1500, 1, 8, 8), np.uint8)
    pixels[1200:] = 200
    told: list[tuple[str, int, int]] = []
    clusters = near_duplicates(pixels, lambda *report: told.append(report))
    assert np.bincount(clusters).tolist() == [1200, 300]
    assert told[:2] == [("comparing images", 0, 1500), ("comparing images", 256, 1500)]


def test_one_image_and_none() -> None:
    assert near_duplicates(np.zeros((1, 1, 8, 8), np.uint8), lambda *_: None).tolist() == [0]
    assert near_duplicates(np.zeros((0, 1, 8, 8), np.uint8), lambda *_: None).tolist() == []
