"""Images and labels as arrays in an .npz: MedMNIST's files, Keras' mnist.npz, and one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitfed.data.decode import resize_all
from splitfed.data.source import PARTS, Decoded, Found
from splitfed.errors import DataError

KEYS = ({p: (f"{p}_images", f"{p}_labels") for p in PARTS}, {p: (f"x_{p}", f"y_{p}") for p in PARTS})
"""The names of images and labels of each published part: MedMNIST's, Keras'."""
WHOLE = (("images", "labels"), ("pixels", "labels"))
"""The names where there are no parts."""
EXPECTED = (
    "expected the arrays train_images and train_labels (with val and test), as MedMNIST has, or images and labels"
)

Pairs = list[tuple[int, NDArray[Any], NDArray[Any], str]]
"""Position in `PARTS`, images, labels, and the name of the images."""


def read_arrays(file: Path, size: int | None) -> Decoded:
    """All parts of an .npz, pooled; no pickle is read.

    Images are uint8 (N, H, W), (N, H, W, 3) or (N, 3, H, W); labels are integers (N,) or (N, 1). The optional array
    ``classes`` holds the names of the classes, ``groups`` (or ``train_groups`` ...) a number or text per image.

    Raises:
        DataError: no such file, other arrays, or arrays that do not fit each other.
    """
    arrays = _load(file)
    pairs = _pairs(file, arrays)
    stored = [_images(file, name, pixels, size) for _, pixels, _, name in pairs]
    images = [resize_all(pixels, size) for pixels in stored]
    labels = [_labels(file, name, found, len(images)) for _, images, found, name in pairs]
    if len({pixels.shape[1:] for pixels in images}) > 1:
        raise DataError(f"{file}: expected images of one shape, found {', '.join(str(p.shape[1:]) for p in images)}")
    numbers, known = np.unique(np.concatenate(labels), return_inverse=True)
    if len(numbers) < 2:
        raise DataError(f"{file}: expected labels of at least two classes, found {numbers.tolist()}")
    pixels = np.concatenate(images)
    with_parts = any(part >= 0 for part, *_ in pairs)
    parts = np.repeat([max(part, 0) for part, *_ in pairs], [len(p) for p in images]).astype(np.uint8)
    return Decoded(
        pixels,
        known.astype(np.int64),
        _classes(file, arrays, numbers),
        note=f"{len(pixels):,} images from {file.name}, {'×'.join(map(str, pixels.shape[1:]))}",
        groups=_groups(file, arrays, pairs, len(pixels)),
        parts=parts if with_parts else None,
        found=Found(
            sizes=dict(Counter(f"{part.shape[1]}×{part.shape[2]}" for part in stored for _ in part)),
            depths={"8 bits": len(pixels)},
            remarks=_remarks(pairs) if with_parts else (),
        ),
    )


def _load(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # a damaged file can raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        cure = "store arrays of numbers and texts, no objects" if "allow_pickle" in str(error) else "download it again"
        raise DataError(f"{file}: {EXPECTED}, found a file that cannot be read ({reason}); {cure}") from error


def _pairs(file: Path, arrays: Mapping[str, NDArray[Any]]) -> Pairs:
    found: Pairs = [
        (part, arrays[of_part[0]], arrays[of_part[1]], of_part[0])
        for names in KEYS
        for part, of_part in enumerate(names.values())
        if of_part[0] in arrays and of_part[1] in arrays
    ]
    found = found or [(-1, arrays[i], arrays[j], i) for i, j in WHOLE if i in arrays and j in arrays][:1]
    if not found or not sum(len(pixels) for _, pixels, _, _ in found):
        raise DataError(
            f"{file}: {EXPECTED}, found {', '.join(sorted(arrays)) or 'none'}{' without images' * bool(found)}"
        )
    read = {name for _, _, _, name in found}
    images = {names[0] for of_part in KEYS for names in of_part.values()}
    unread = sorted(images & {*arrays} - read)
    if unread:
        raise DataError(
            f"{file}: expected labels for {', '.join(unread)}, found none; add them, or remove these images"
        )
    return found


def _images(file: Path, name: str, pixels: NDArray[Any], size: int | None) -> NDArray[np.uint8]:
    """Gray (N, H, W) or color (N, H, W, 3)."""
    if pixels.dtype != np.uint8:
        raise DataError(
            f"{file}: {name}: expected uint8 from 0 to 255, found {pixels.dtype}; scale floats in [0, 1] by 255, "
            "round, and store them as uint8"
        )
    if pixels.ndim == 4 and pixels.shape[1] in (1, 3) and pixels.shape[3] not in (1, 3):
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        raise DataError(f"{file}: {name}: expected images (N, H, W), found flat rows {pixels.shape}; reshape them")
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3):
        raise DataError(
            f"{file}: {name}: expected images of shape (N, H, W) or (N, H, W, 3), found {pixels.shape}; volumes have "
            "to be stored as slices"
        )
    if size is None and pixels.shape[1] != pixels.shape[2]:
        raise DataError(
            f"{file}: {name}: expected square images, found {pixels.shape[1:3]}; give data.image_size to crop them"
        )
    return pixels


def _labels(file: Path, name: str, labels: NDArray[Any], images: int) -> NDArray[np.int64]:
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim == 1 and not np.issubdtype(flat.dtype, np.integer):
        raise DataError(
            f"{file}: labels of {name}: expected one integer per image, found {labels.dtype}; number the classes from "
            "0 and give their names in the array classes"
        )
    if flat.ndim != 1:
        raise DataError(
            f"{file}: labels of {name}: expected one integer per image, found {labels.dtype} of shape {labels.shape}; "
            "a data set with several labels per image (such as ChestMNIST) has to be reduced to one"
        )
    if len(flat) != images:
        raise DataError(f"{file}: {name}: expected as many labels as images, found {len(flat):,} and {images:,}")
    return flat.astype(np.int64)


def _classes(file: Path, arrays: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64]) -> tuple[str, ...]:
    """The names of the labels that occur: those that the file gives, else the numbers."""
    if "classes" not in arrays:
        return tuple(str(number) for number in numbers.tolist())
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in arrays["classes"].reshape(-1).tolist()]
    if numbers.min() < 0 or numbers.max() >= len(names) or len(set(names)) < len(names):
        raise DataError(
            f"{file}: classes: expected distinct names for the labels {numbers.min()} to {numbers.max()}, found {names}"
        )
    return tuple(names[number] for number in numbers.tolist())


def _groups(file: Path, arrays: Mapping[str, NDArray[Any]], pairs: Pairs, images: int) -> NDArray[np.int64] | None:
    """One array for all images, or one for each part."""
    of_parts = [f"{PARTS[part]}_groups" for part, *_ in pairs if part >= 0]
    given = [name for name in arrays if "group" in name or "patient" in name]
    if not given:
        return None
    names = ["groups"] if "groups" in arrays else of_parts
    if sorted(given) != sorted(names):
        raise DataError(
            f"{file}: expected the groups of all images in groups, or in {', '.join(of_parts) or 'it alone'}, found "
            f"{', '.join(sorted(given))}; rename the arrays"
        )
    found = np.concatenate([arrays[name].reshape(-1) for name in names])
    if len(found) != images:
        raise DataError(
            f"{file}: expected a group for each of {images:,} images in {', '.join(names)}, found {len(found):,}"
        )
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _remarks(pairs: Pairs) -> tuple[str, ...]:
    counts = ", ".join(f"{PARTS[part]} ({len(pixels):,})" for part, pixels, _, _ in pairs)
    return (
        f'published parts {counts} are pooled and split anew; data.split = "folders" keeps the attacker and the test '
        "out of train",
    )
