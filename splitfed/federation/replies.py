"""What the server believes of a client's reply: nothing that it has not checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from splitfed.defenses.base import Figures
from splitfed.errors import SplitfedError
from splitfed.files import one_reader

Record = TypeVar("Record")
MOST_LOSS = float(np.finfo(np.float32).max)
"""More no loss can be that was computed in float32; and no sum of these overflows."""
NAMES_SHOWN = 3
"""Names of arrays in one message."""


class BadReply(SplitfedError):
    """A reply that cannot be used; its client is lost for the round, and the message says why."""

    passing = False
    """Whether it may go well the next time."""


class Unfinished(BadReply):
    """A client answered, but its stream is not complete."""

    passing = True


@dataclass(frozen=True)
class TrainingReply:
    """What is left of a reply once it has been checked.

    Attributes:
        message: holds nothing but what a Flower strategy averages: the front, and the number of examples.
        examples: the front's weight in an average.
        traffic_bytes: of the frames that the client sent and received.
        measures: of the client's defense.
    """

    message: Message
    examples: int
    traffic_bytes: int
    measures: Figures


def read_training(reply: Message, front: Mapping[str, Tensor], received: int) -> TrainingReply:
    """The reply of a client that trained a round.

    Args:
        reply: as it came.
        front: what was sent: names, shapes and types of the arrays that are to come back.
        received: how many images the server itself counted in the client's stream.

    Raises:
        BadReply: a record or an array is missing, or is not what it should be.
    """
    metrics = _record(reply.content.metric_records, "metrics")
    said = _count(metrics, "num-examples")
    if said != received:
        raise BadReply(f"its reply says num-examples {said}; its stream held {received}")
    traffic_bytes = _count(metrics, "sent-bytes") + _count(metrics, "received-bytes")
    measures = {
        name: _number("measures", name, value)
        for name, value in _record(reply.content.config_records, "measures").items()
    }
    return TrainingReply(_for_strategy(reply, front, received), received, traffic_bytes, measures)


def read_outcome(reply: Message, images: int) -> tuple[float, int]:
    """Mean loss and correct images, as a client says that keeps its labels; the server cannot know better.

    Args:
        reply: as it came.
        images: how many the client's stream held.

    Raises:
        BadReply: a metric is missing, or says what no cross-entropy of so many images can be.
    """
    metrics = _record(reply.content.metric_records, "metrics")
    correct = _count(metrics, "correct")
    if correct > images:
        raise BadReply(f"its reply says correct {correct}; its stream held {images}")
    if "loss" not in metrics:
        raise BadReply(f"its reply has no loss among its metrics; it has {_listed(sorted(metrics))}")
    loss = _number("metrics", "loss", metrics["loss"])
    if not 0 <= loss <= MOST_LOSS:
        raise BadReply(f"its reply says loss {loss:g}; expected 0 to {MOST_LOSS:g}")
    return loss, correct


def read_preparation(reply: Message, front: Mapping[str, Tensor], most: int) -> Message:
    """What a Flower strategy averages of the reply of a client that prepared its front.

    No stream shows how many images it used, so that its word is taken, up to `most`.

    Raises:
        BadReply: a record or an array is missing, or is not what it should be.
    """
    said = _count(_record(reply.content.metric_records, "metrics"), "num-examples")
    if not 1 <= said <= most:
        raise BadReply(f"its reply says num-examples {said}; expected 1 to {most}, all training images (data.train)")
    return _for_strategy(reply, front, said)


def _for_strategy(reply: Message, front: Mapping[str, Tensor], examples: int) -> Message:
    arrays = _checked(_record(reply.content.array_records, "arrays"), front)
    reply.content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": examples})})
    return reply


def _checked(arrays: ArrayRecord, front: Mapping[str, Tensor]) -> ArrayRecord:
    """The arrays of a front like this one, in its order."""
    missing, strange = sorted(front.keys() - arrays.keys()), sorted(arrays.keys() - front.keys())
    if missing or strange:
        raise BadReply(f"its front lacks {_listed(missing)} and has {_listed(strange)} that nobody asked for")
    for name, sent in front.items():
        _check_array(name, arrays[name], sent)
    return ArrayRecord({name: arrays[name] for name in front})


def _check_array(name: str, array: Array, sent: Tensor) -> None:
    value, wanted = _decoded(name, array), sent.detach().cpu().numpy()
    if value.shape != wanted.shape or value.dtype != wanted.dtype:
        raise BadReply(f"its front's {name} is {value.dtype} {value.shape}; expected {wanted.dtype} {wanted.shape}")
    if not np.isfinite(value).all():
        raise BadReply(
            f"its front's {name} has NaN or infinite numbers: its training diverged; lower federation.learning_rate"
        )


def _decoded(name: str, array: Array) -> np.ndarray:
    try:
        with one_reader:
            return array.numpy()
    except Exception as error:  # whatever the bytes of somebody else make of a parser
        raise BadReply(f"its front's {name} cannot be read: {error}") from error


def _record(records: Mapping[str, Record], name: str) -> Record:
    if name not in records:
        raise BadReply(f"its reply has no record {name!r}; it has {_listed(sorted(records))}")
    return records[name]


def _count(metrics: MetricRecord, name: str) -> int:
    """A number of things: whole, and not negative."""
    if name not in metrics:
        raise BadReply(f"its reply has no {name} among its metrics; it has {_listed(sorted(metrics))}")
    value = _number("metrics", name, metrics[name])
    if value < 0 or value != int(value):
        raise BadReply(f"its reply says {name} {value:g}; expected a whole number, 0 or more")
    return int(value)


def _number(record: str, name: str, value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadReply(f"its reply says {name} {value!r} in its {record}; expected a finite number")
    return value


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return (", ".join(map(repr, names[:NAMES_SHOWN])) or "nothing") + more
