"""Arrays in an .npz: MedMNIST's form, Keras', one's own, and what is said of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitfed.data import load, split
from splitfed.errors import DataError


def images(count: int, *, shape: tuple[int, ...] = (16, 16), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def labels(count: int, classes: int = 3) -> np.ndarray:
    return np.arange(count)[:, None] % classes


def medmnist(shape: tuple[int, ...] = (16, 16)) -> dict[str, np.ndarray]:
    arrays = {}
    for number, (part, count) in enumerate((("train", 12), ("val", 6), ("test", 9))):
        arrays[f"{part}_images"] = images(count, shape=shape, seed=number)
        arrays[f"{part}_labels"] = labels(count)
    return arrays


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "arrays.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("stored", "shape"), [((16, 16), (1, 16, 16)), ((16, 16, 3), (3, 16, 16)), ((3, 16, 16), (3, 16, 16)),
                          ((16, 16, 1), (1, 16, 16)), ((1, 16, 16), (1, 16, 16))],
)  # fmt: skip
def test_medmnists_arrays_in_every_order(tmp_path: Path, stored: tuple[int, ...], shape: tuple[int, int, int]) -> None:
    arrays = medmnist(stored)
    read = load("folder", path=saved(tmp_path, **arrays))
    assert read.shape == shape
    assert len(read) == 27
    assert read.counts == {"0": 9, "1": 9, "2": 9}
    assert read.parts is not None
    assert np.bincount(read.parts).tolist() == [12, 6, 9]
    assert read.found.sizes == {"16×16": 27}
    first = arrays["train_images"][0]
    expected = first.reshape(shape) if stored != (16, 16, 3) else first.transpose(2, 0, 1)
    assert np.array_equal(read.pixels[0], expected)
    assert load("folder", path=tmp_path / "arrays.npz", image_size=8).shape == (shape[0], 8, 8)


def test_published_parts_of_arrays_can_be_kept(tmp_path: Path) -> None:
    read = load("folder", path=saved(tmp_path, **medmnist()))
    kept = split(read, train=12, aux=6, test=6, seed=0, by="folders")
    of_train = {image.tobytes() for image in read.pixels[read.parts == 0]}
    assert {(p * 255).round().byte().numpy().tobytes() for p in kept.train.pixels} == of_train


def test_keras_arrays_and_ones_own(tmp_path: Path) -> None:
    keras = {"x_train": images(6), "y_train": labels(6)[:, 0], "x_test": images(3, seed=1), "y_test": labels(3)[:, 0]}
    assert len(load("folder", path=saved(tmp_path, **keras))) == 9
    own = {
        "images": images(6),
        "labels": labels(6)[:, 0],
        "classes": np.array(["x", "y", "z"]),
        "groups": np.arange(6) // 2,
    }
    read = load("folder", path=saved(tmp_path, **own))
    assert read.classes == ("x", "y", "z")
    assert read.parts is None
    assert read.groups is not None
    assert read.groups.tolist() == [0, 0, 1, 1, 2, 2]


def test_groups_over_all_parts_or_for_each(tmp_path: Path) -> None:
    whole = load("folder", path=saved(tmp_path, **medmnist(), groups=np.arange(27) // 3))
    parts = {f"{part}_groups": np.arange(count) // 3 + 10 * n for n, (part, count) in
             enumerate((("train", 12), ("val", 6), ("test", 9)))}  # fmt: skip
    each = load("folder", path=saved(tmp_path, **medmnist(), **parts))
    assert whole.groups is not None
    assert each.groups is not None
    assert whole.groups.tolist() == each.groups.tolist() == (np.arange(27) // 3).tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": images(3)}, "expected the arrays train_images and train_labels.*found x"),
        ({"images": images(3) / 255, "labels": labels(3)}, "expected uint8 from 0 to 255, found float64; scale"),
        ({"images": images(3, shape=(16, 16, 16)), "labels": labels(3)}, "found .*16, 16, 16.*slices"),
        ({"images": images(3), "labels": np.zeros((3, 14), int)}, r"found int64 of shape \(3, 14\).*ChestMNIST"),
        ({"images": images(3), "labels": np.zeros(3)}, "one integer per image, found float64; number the classes"),
        ({"images": images(3), "labels": np.array(["a", "b", "c"])}, "number the classes from 0 and give their names"),
        ({"images": images(3, shape=(256,)), "labels": labels(3)}, "found flat rows .*reshape them"),
        ({"images": images(0), "labels": labels(0)}, "found images, labels without images"),
        ({"images": images(3), "labels": labels(3), "patient_id": np.arange(3)}, "found patient_id; rename"),
        ({"train_images": images(3), "train_labels": labels(3), "test_images": images(3)}, "labels for test_images"),
        ({"images": images(3), "labels": labels(2)}, "as many labels as images, found 2 and 3"),
        ({"images": images(3), "labels": np.zeros(3, int)}, "labels of at least two classes, found"),
        ({"images": images(3, shape=(16, 20)), "labels": labels(3)}, "expected square images.*data.image_size"),
        ({"images": images(3), "labels": labels(3), "classes": np.array(["x", "y"])}, "names for the labels 0 to 2"),
        ({"images": images(3), "labels": labels(3), "groups": np.arange(2)}, "a group for each of 3 images in groups"),
        ({"images": images(3), "labels": np.array([{}, {}, {}])}, "cannot be read.*allow_pickle"),
        ({"train_images": images(3), "train_labels": labels(3), "test_images": images(3, shape=(8, 8)),
          "test_labels": labels(3)}, "images of one shape"),
    ],
)  # fmt: skip
def test_other_arrays_are_refused_by_name(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=rf"arrays\.npz: .*{message}"):
        load("folder", path=saved(tmp_path, **arrays))


def test_a_damaged_file_and_a_selection(tmp_path: Path) -> None:
    from splitfed.data import Selection

    path = saved(tmp_path, **medmnist())
    with pytest.raises(DataError, match=r"an \.npz has no folders"):
        load("folder", path=path, selection=Selection(class_level=1))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot be read"):
        load("folder", path=path)
