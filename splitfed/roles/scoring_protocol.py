"""What the server asks of a client that alone holds the truth, and what that answers: numbers, and nothing else.

`SCORE` brings what an attack made of the client's images, or what a predictor guesses for each class; the answer has
scores per image. `JUDGE` brings what was tapped of the client's own audit, and what shows whether the attacker's own
images are among the client's; the answer has counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from torch import Tensor

from splitfed.errors import SplitfedError
from splitfed.files import one_reader
from splitfed.types import ImageShape, Reconstruction

SCORE, JUDGE = "query.score", "query.judge"
"""The types of the two Messages."""
MADE, TAPPED, OWN, KNOWN = "made", "tapped", "own", "known"
"""Records of a question: what was made of the images, what was tapped of the audit by its step, what identifies the
attacker's own images, and what is known of the run."""
INDEX, IMAGES, BY_CLASS, HASHES, MEAN = "index", "images", "by-class", "hashes", "mean"
"""Arrays in these."""
CLASSES, MEASURES = "classes", "measures"
"""Keys of `KNOWN`: the attacker's class names; how each client trained, as JSON."""
NUMBERS, FIGURES = "numbers", "figures"
"""Records of an answer."""
IMAGE, HIT = "image", "hit"
"""Keys of scores, beside those of the metrics: which of the client's images, whether it was re-identified."""


Numbers = list[int] | list[float] | int | float
"""What an answer may hold under a name."""


class BadQuestion(SplitfedError):
    """What the client was asked is nothing that it answers; the message says why."""


class SharedAuxiliary(NamedTuple):
    """What the attacker shows of its own images, so that baselines can be scored and an overlap be found.

    Attributes:
        hashes: of the images' content, uint8, (N, 16).
        mean: of all images, (C, H, W).
        by_class: of each class, (K, C, H, W).
        classes: their names.
    """

    hashes: np.ndarray
    mean: Tensor
    by_class: Tensor
    classes: tuple[str, ...]

    def to_record(self) -> RecordDict:
        """As the content of a Message."""
        arrays = arrays_of({HASHES: self.hashes, MEAN: self.mean.numpy(), BY_CLASS: self.by_class.numpy()})
        return RecordDict({OWN: arrays, KNOWN: ConfigRecord({CLASSES: list(self.classes)})})

    @classmethod
    def of_record(cls, content: RecordDict, shape: ImageShape, classes: int) -> SharedAuxiliary:
        """What `to_record` made, for images of this shape and so many classes.

        Raises:
            BadQuestion: it is something else.
        """
        arrays = content.array_records.get(OWN, ArrayRecord())
        names = content.config_records.get(KNOWN, ConfigRecord()).get(CLASSES, [])
        if not isinstance(names, list) or len(names) != classes:
            raise BadQuestion(f"the attacker's own images have other than {classes} classes")
        hashes = numbers(arrays, HASHES, (-1, 16), np.uint8)
        mean = torch.from_numpy(numbers(arrays, MEAN, tuple(shape), np.float32))
        by_class = torch.from_numpy(numbers(arrays, BY_CLASS, (classes, *shape), np.float32))
        return cls(hashes, mean, by_class, tuple(str(name) for name in names))


def arrays_of(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Arrays by name, for a Message."""
    return ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})


def numbers(arrays: ArrayRecord, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """The array of this name and shape, where -1 is any length; floats are finite.

    Raises:
        BadQuestion: there is none, or it is another.
    """
    if name not in arrays:
        raise BadQuestion(f"{name} is missing")
    try:
        with one_reader:
            value = np.array(arrays[name].numpy())
    except Exception as error:  # whatever a stranger's bytes make of a parser
        raise BadQuestion(f"{name} cannot be read: {error}") from error
    fits = value.ndim == len(shape) and all(w in (-1, s) for w, s in zip(shape, value.shape, strict=True))
    if not fits or value.dtype != dtype:
        raise BadQuestion(f"{name} is {value.dtype} {value.shape}; expected {np.dtype(dtype)} {shape}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise BadQuestion(f"{name} has NaN or infinite numbers")
    return value


def made_by_attack(reconstruction: Reconstruction) -> ArrayRecord:
    """What an attack made, as it is asked about."""
    return arrays_of({INDEX: reconstruction.index, IMAGES: reconstruction.images.numpy()})


def digest(arrays: ArrayRecord) -> str:
    """Tells one question from another."""
    found = hashlib.blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {tuple(array.shape)};".encode())
        found.update(array.data)
    return found.hexdigest()


def answer_of(values: Mapping[str, Numbers]) -> MetricRecord:
    """Numbers by name: the whole content of an answer. Empty lists are left out."""
    return MetricRecord({name: value for name, value in values.items() if value != []})
