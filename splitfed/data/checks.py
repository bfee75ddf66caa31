"""Whether what a data set plug-in read are images with labels: one message with what was found and the cure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitfed.data.source import Decoded
from splitfed.errors import DataError

SMALLEST_SIZE = 8
"""Edge in pixels; smaller images leave nothing to reconstruct."""


def check_decoded(given: Any, *, where: str, image_size: int | None) -> Decoded:
    """The images, labels as int64.

    Args:
        given: what `DatasetSource.read` gave.
        where: which plug-in and method, for the message.
        image_size: the edge that was asked for, in pixels; None left it to the data set.

    Raises:
        DataError: it is no `Decoded`, or its parts are not what they should be or do not fit together.
    """
    if not isinstance(given, Decoded):
        raise DataError(f"{where} gave {type(given).__name__}; expected splitfed.data.Decoded(pixels, labels, ...)")
    faults = (_pixels(given.pixels, image_size), _labels(given.labels), _classes(given.classes), _texts(given))
    fault = next((fault for fault in faults if fault), None) or _together(given)
    if fault:
        raise DataError(f"{where} gave {fault}")
    return given._replace(labels=given.labels.astype(np.int64, copy=False), classes=tuple(given.classes))


def _pixels(pixels: Any, image_size: int | None) -> str | None:
    wanted = "expected uint8 (N, C, H, W) with C 1 or 3"
    if not isinstance(pixels, np.ndarray):
        return f"pixels {type(pixels).__name__}; {wanted}, a numpy.ndarray: convert them with numpy.asarray()"
    found = f"pixels {pixels.dtype} {pixels.shape}; {wanted}"
    if pixels.ndim == 3:
        return f"{found}: add the axis of the channels, pixels[:, None]"
    if pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[3] in (1, 3):
        return f"{found}: put the channels second, pixels.transpose(0, 3, 1, 2)"
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        return found
    if pixels.dtype != np.uint8:
        return f"{found}: scale them to 0 ... 255 and convert them with .astype(numpy.uint8)"
    height, width = pixels.shape[2:]
    if image_size is not None and (height, width) != (image_size, image_size):
        return f"pixels of {height}×{width}; expected {image_size}×{image_size}: resize them to request.image_size"
    if height != width or height < SMALLEST_SIZE:
        return f"pixels of {height}×{width}; expected squares of at least {SMALLEST_SIZE}×{SMALLEST_SIZE}: crop them"
    return None if len(pixels) else "no image; expected at least one of each class"


def _labels(labels: Any) -> str | None:
    wanted = "expected integers (N,)"
    if not isinstance(labels, np.ndarray):
        return f"labels {type(labels).__name__}; {wanted}, a numpy.ndarray: convert them with numpy.asarray()"
    found = f"labels {labels.dtype} {labels.shape}; {wanted}"
    if labels.ndim == 2 and labels.shape[1] == 1:
        return f"{found}: labels.ravel()"
    if labels.ndim != 1:
        return f"{found}: the position of each image's class in classes"
    return None if labels.dtype.kind in "iu" else f"{found}: convert them with .astype(numpy.int64)"


def _classes(classes: Any) -> str | None:
    if not isinstance(classes, tuple | list) or not all(isinstance(name, str) and name.strip() for name in classes):
        return f"classes {classes!r}; expected a tuple of their names"
    if len(set(classes)) != len(classes) or len(classes) < 2:
        return f"classes {tuple(classes)!r}; expected at least two names, all different"
    return None


def _texts(given: Decoded) -> str | None:
    odd = [name for name in ("note", "caveat") if not isinstance(getattr(given, name), str)]
    return f"{odd[0]} {getattr(given, odd[0])!r}; expected a line of text, which may be empty" if odd else None


def _together(given: Decoded) -> str | None:
    """What is wrong between arrays that are sound by themselves."""
    if len(given.pixels) != len(given.labels):
        return f"{len(given.pixels):,} images and {len(given.labels):,} labels; expected one label for each image"
    labels: NDArray[Any] = given.labels
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(given.classes):
        return (
            f"labels from {low} to {high} with {len(given.classes)} classes; expected 0 to {len(given.classes) - 1}: "
            "the position of each image's class in classes"
        )
    missing = sorted(set(range(len(given.classes))) - set(np.unique(labels).tolist()))
    if missing:
        names = ", ".join(repr(given.classes[label]) for label in missing[:3])
        return f"no image of {names}; expected at least one of each class: leave out classes without images"
    return None
