"""The stand-ins are varied, distinct and compressible as the real images are, and repeat under their seed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from splitfed.data import split
from splitfed.data.dataset import Dataset
from splitfed.data.phantoms import DRAWERS, Phantoms
from splitfed.data.source import Request
from splitfed.files import cache_dir

PER_CLASS = 300


def _draw(per_class: int = PER_CLASS, *, size: int = 28, seed: int = 0) -> Dataset:
    source = Phantoms(per_class=per_class, seed=seed)
    decoded = source.read(Request(size, (), cache_dir(), None, lambda *_: None))
    return Dataset(source.name, *decoded[:3], synthetic=source.synthetic, note=decoded.note)


@pytest.fixture
def phantoms() -> Dataset:
    """A few hundred pictures of each class."""
    return _draw()


def _psnr_db(guess: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-10 * np.log10(((guess - truth) ** 2).mean(-1)))


def _train_and_test(
    data: Dataset,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    parts = split(data, train=len(data) * 3 // 4, aux=0, test=len(data) // 4, seed=0)
    flat = [part.pixels.flatten(1).double().numpy() for part in (parts.train, parts.test)]
    return flat[0], parts.train.labels.numpy(), flat[1], parts.test.labels.numpy()


def test_the_class_says_as_little_about_an_image_as_in_the_real_data(phantoms: Dataset) -> None:
    """Medical MNIST: mean image 12.9 dB, class mean 19.5 dB."""
    train, train_labels, test, test_labels = _train_and_test(phantoms)
    class_means = np.stack([train[train_labels == label].mean(0) for label in range(len(DRAWERS))])
    assert _psnr_db(train.mean(0), test).mean() == pytest.approx(12.9, abs=1.0)
    assert _psnr_db(class_means[test_labels], test).mean() == pytest.approx(19.5, abs=1.0)


def test_an_image_compresses_as_well_as_a_real_one(phantoms: Dataset) -> None:
    """The 100 first principal components of Medical MNIST keep 28.5 dB."""
    train, _, test, _ = _train_and_test(phantoms)
    mean = train.mean(0)
    _, _, components = np.linalg.svd(train - mean, full_matrices=False)
    kept = (test - mean) @ components[:100].T @ components[:100] + mean
    assert _psnr_db(kept, test).mean() == pytest.approx(28.5, abs=2.0)


def test_the_classes_can_be_told_apart(phantoms: Dataset) -> None:
    train, train_labels, test, test_labels = _train_and_test(phantoms)
    inputs = np.column_stack([train, np.ones(len(train))])
    weights = np.linalg.solve(inputs.T @ inputs + 10 * np.eye(inputs.shape[1]), inputs.T @ np.eye(6)[train_labels])
    guess = (np.column_stack([test, np.ones(len(test))]) @ weights).argmax(1)
    assert (guess == test_labels).mean() > 0.9


def test_no_two_are_alike(phantoms: Dataset) -> None:
    parts = split(phantoms, train=len(phantoms), aux=0, test=0, seed=0)
    assert parts.duplicates == 0
    flat = parts.train.pixels.flatten(1).double().numpy()
    squares = (flat**2).sum(1)
    distances = squares[:, None] + squares[None] - 2 * flat @ flat.T
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 0.05  # (sum over 784 pixels) far more than rounding: an image can be told by itself


def test_drawings_repeat_under_their_seed_and_differ_under_another() -> None:
    first, again, other = _draw(5).pixels, _draw(5).pixels, _draw(5, seed=1).pixels
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("size", [8, 13, 64])
def test_any_size_can_be_drawn(size: int) -> None:
    data = _draw(2, size=size)
    assert data.shape == (1, size, size)
    assert data.synthetic
    assert np.bincount(data.labels).tolist() == [2] * 6


def test_a_larger_drawing_shows_the_same_organs() -> None:
    """Sizes are in shares of the picture: at twice the size, averages of 2×2 pixels give nearly the small one."""
    from splitfed.data.phantoms import draw

    for name in DRAWERS:
        small = draw(name, 20, 28, np.random.default_rng(0)).astype(np.float64)
        large = draw(name, 20, 56, np.random.default_rng(0)).astype(np.float64)
        halved = large.reshape(20, 28, 2, 28, 2).mean((2, 4))
        assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.97, name
