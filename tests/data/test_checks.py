"""What a data set plug-in may not read: named by array, with what was found and the cure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitfed.data import Decoded
from splitfed.data.checks import check_decoded
from splitfed.errors import DataError

SOUND = Decoded(np.zeros((4, 1, 8, 8), np.uint8), np.array([0, 1, 0, 1]), ("a", "b"), "a note")


def check(given: Any, size: int | None = 8) -> Decoded:
    return check_decoded(given, where="plug-in x: read()", image_size=size)


def test_sound_images_pass_with_labels_as_int64() -> None:
    assert check(SOUND) == SOUND
    for dtype in (np.int32, np.uint8, np.uint64):
        assert check(SOUND._replace(labels=SOUND.labels.astype(dtype))).labels.dtype == np.int64
    listed: Any = ["a", "b"]
    assert check(SOUND._replace(classes=listed)).classes == ("a", "b")
    color = np.zeros((4, 3, 9, 9), np.uint8)
    assert check(SOUND._replace(pixels=color), None).pixels is color


PIXELS = np.zeros((4, 1, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"pixels": PIXELS[:, 0]}, r"pixels uint8 \(4, 8, 8\); expected uint8 \(N, C, H, W\) .*pixels\[:, None\]"),
        ({"pixels": np.zeros((4, 8, 8, 3), np.uint8)}, r"\(4, 8, 8, 3\); .*put the channels second"),
        ({"pixels": np.zeros((4, 2, 8, 8), np.uint8)}, r"\(4, 2, 8, 8\); expected .* C 1 or 3"),
        ({"pixels": PIXELS / 255}, r"pixels float64 .*astype\(numpy.uint8\)"),
        ({"pixels": PIXELS.tolist()}, r"pixels list; .*numpy.asarray"),
        ({"pixels": np.zeros((4, 1, 9, 9), np.uint8)}, "pixels of 9×9; expected 8×8: resize"),
        ({"pixels": np.zeros((4, 1, 8, 9), np.uint8)}, "pixels of 8×9; expected 8×8"),
        ({"pixels": PIXELS[:0], "labels": SOUND.labels[:0]}, "no image; expected at least one"),
        ({"labels": SOUND.labels[:, None]}, r"labels int64 \(4, 1\); expected integers \(N,\): labels.ravel\(\)"),
        ({"labels": np.eye(4)}, r"labels float64 \(4, 4\); expected integers \(N,\): the position"),
        ({"labels": SOUND.labels.astype(float)}, r"labels float64 .*astype\(numpy.int64\)"),
        ({"labels": [0, 1, 0, 1]}, "labels list; expected integers"),
        ({"labels": SOUND.labels[:3]}, "4 images and 3 labels; expected one label for each"),
        ({"labels": np.array([0, 1, 2, 1])}, "labels from 0 to 2 with 2 classes; expected 0 to 1"),
        ({"labels": np.array([0, 1, -1, 1])}, "labels from -1 to 1"),
        ({"classes": ("a", "b", "c")}, "no image of 'c'; expected at least one of each class"),
        ({"classes": ("a",)}, r"classes \('a',\); expected at least two"),
        ({"classes": ("a", "a")}, "expected at least two names, all different"),
        ({"classes": ("a", 1)}, "expected a tuple of their names"),
        ({"classes": "ab"}, "classes 'ab'; expected a tuple"),
        ({"note": None}, "note None; expected a line of text"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^plug-in x: read.. gave .*{message}"):
        check(SOUND._replace(**parts))


def test_without_a_size_images_are_squares_that_are_not_too_small() -> None:
    for shape in ((4, 1, 8, 9), (4, 1, 7, 7)):
        with pytest.raises(DataError, match="expected squares of at least 8×8"):
            check(SOUND._replace(pixels=np.zeros(shape, np.uint8)), None)


def test_anything_but_decoded_is_refused() -> None:
    with pytest.raises(DataError, match=r"gave tuple; expected splitfed.data.Decoded\("):
        check(tuple(SOUND))
    with pytest.raises(DataError, match="gave NoneType"):
        check(None)
