"""Observations on disk: one append-only file per phase and round, readable while it is written.

A record is a prefix (mark, length of the head, length of the body), a head in JSON, and the activation as
little-endian float32. A writer that is killed leaves at worst a cut last record, which readers pass over and the
next writer removes.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError

from splitfed.errors import FrameError
from splitfed.records.record import Record, faults, of_json, to_json
from splitfed.types import Observation, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = b"SFO1"
_PREFIX = struct.Struct("<4sIQ")


class ObservationHead(Record):
    """What stands before the body of a record: all of an `Observation` but its numbers, whose ``shape`` it gives."""

    run: str
    round: int
    client: int
    phase: int = Field(ge=min(Phase), le=max(Phase))
    step: int
    shape: tuple[int, ...]
    labels: tuple[int, ...] | None


_HEAD = TypeAdapter(ObservationHead)


class ObservationWriter:
    """Appends observations of one run to a directory; call it with each.

    Args:
        path: the directory, made when it does not exist.
        keep_rounds: of how many of the newest rounds to keep what was seen in TRAIN and TEST, None for all; what was
            seen in AUDIT is always kept.
    """

    def __init__(self, path: Path, *, keep_rounds: int | None = None) -> None:
        if keep_rounds is not None and keep_rounds < 1:
            raise ValueError(f"keep_rounds is {keep_rounds}; at least the current round is kept")
        self._path = path
        self._keep_rounds = keep_rounds
        self._files: dict[Phase, tuple[int, BinaryIO]] = {}
        path.mkdir(parents=True, exist_ok=True)

    def __call__(self, observation: Observation) -> None:
        """Append one observation."""
        file = self._file(observation.phase, observation.round)
        file.write(_record(observation))
        file.flush()

    def close(self) -> None:
        """Close all files."""
        for _, file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, phase: Phase, round_: int) -> BinaryIO:
        open_round, file = self._files.get(phase, (None, None))
        if file is not None and open_round == round_:
            return file
        if file is not None:
            file.close()
        path = self._path / _file_name(phase, round_)
        _cut_to_whole_records(path)
        new = path.open("ab")
        self._files[phase] = (round_, new)
        if phase is not Phase.AUDIT:
            self._prune(phase)
        return new

    def _prune(self, phase: Phase) -> None:
        if self._keep_rounds is None:
            return
        for path in sorted(self._path.glob(f"{phase.name.lower()}.*.obs"))[: -self._keep_rounds]:
            path.unlink()


def read_observations(
    path: Path, *, round: int | None = None, phase: Phase | None = None, client: int | None = None
) -> Iterator[Observation]:
    """The whole observations in a directory, by phase, round, client and step; restricted to those named.

    A step that was sent again after a stream broke is there once, as last seen. A directory that does not exist
    yet has no observations.

    Raises:
        FrameError: a file is damaged other than by a cut.
    """
    for each in Phase if phase is None else (phase,):
        pattern = f"{each.name.lower()}.{'*' if round is None else f'{round:06d}'}.obs"
        for file in sorted(path.glob(pattern)):
            yield from _read_file(file, client)


class _Place(NamedTuple):
    """Where the body of a record is, and its head."""

    head: ObservationHead
    start: int
    nbytes: int


def _read_file(path: Path, client: int | None) -> Iterator[Observation]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # pruned since it was listed
    with file:
        places = {(p.head.run, p.head.client, p.head.step): p for p in _places(file)}
        for _, place in sorted(places.items()):
            if client in (None, place.head.client):
                yield _observation(file, place)


def _places(file: BinaryIO) -> Iterator[_Place]:
    """The whole records of a file, in the order in which they were written."""
    total = os.fstat(file.fileno()).st_size
    at = 0
    while at + _PREFIX.size <= total:
        file.seek(at)
        mark, head_bytes, body_bytes = _PREFIX.unpack(file.read(_PREFIX.size))
        if mark != _MARK:
            raise FrameError(f"{file.name}: no observation at byte {at}")
        body = at + _PREFIX.size + head_bytes
        if body + body_bytes > total:
            return
        yield _Place(_head(file, at, head_bytes), body, body_bytes)
        at = body + body_bytes


def _head(file: BinaryIO, at: int, nbytes: int) -> ObservationHead:
    try:
        return of_json(_HEAD, file.read(nbytes))
    except ValidationError as error:
        raise FrameError(f"{file.name}: no observation at byte {at}: {faults(error)[0]}") from None


def _observation(file: BinaryIO, place: _Place) -> Observation:
    head = place.head
    file.seek(place.start)
    flat = np.fromfile(file, np.float32, place.nbytes // 4)
    if flat.size != math.prod(head.shape):
        raise FrameError(f"{file.name}: {flat.size} numbers at byte {place.start}; expected a shape of {head.shape}")
    return Observation(
        run=head.run,
        round=head.round,
        client=head.client,
        phase=Phase(head.phase),
        step=head.step,
        activation=torch.from_numpy(flat).view(head.shape),
        labels=None if head.labels is None else torch.tensor(head.labels, dtype=torch.int64),
    )


def _record(observation: Observation) -> bytes:
    body = observation.activation.detach().contiguous().numpy()
    head = ObservationHead(
        run=observation.run,
        round=observation.round,
        client=observation.client,
        phase=int(observation.phase),
        step=observation.step,
        shape=tuple(observation.activation.shape),
        labels=None if observation.labels is None else tuple(observation.labels.tolist()),
    )
    encoded = to_json(head)
    return b"".join((_PREFIX.pack(_MARK, len(encoded), body.nbytes), encoded, body.data))


def _cut_to_whole_records(path: Path) -> None:
    """Remove the cut record that a killed writer may have left."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = 0
        for place in _places(file):
            end = place.start + place.nbytes
        file.truncate(end)


def _file_name(phase: Phase, round_: int) -> str:
    return f"{phase.name.lower()}.{round_:06d}.obs"
