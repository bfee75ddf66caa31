"""The observations that the attacker works on: what the tap recorded, read back, and which of it is reconstructed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from splitfed.attacker.protocol import Final
from splitfed.types import Observation, Phase
from splitfed.wire.observations import read_observations

IDLE_S = 0.1
"""Between two looks at what has arrived."""


class Chosen(NamedTuple):
    """Rows of an observation that are to be reconstructed."""

    seen: Observation
    rows: np.ndarray

    @classmethod
    def all_of(cls, observation: Observation) -> Chosen:
        """All of its rows."""
        return cls(observation, np.arange(len(observation.activation)))


class Observed:
    """Reads the tap's records.

    Args:
        folder: where they lie.
        width: numbers per activation; a client that sends another number, which the server will refuse, is left alone.
        warn: gets a sentence for the user.
        shown: opaque indices of what is shown while training goes on.
    """

    def __init__(
        self,
        folder: Path,
        width: int,
        warn: Callable[[str], None],
        shown: Sequence[tuple[int, int, int, int]] = (),
    ) -> None:
        self._folder = folder
        self._width = width
        self._warn = warn
        self._foreign: set[tuple[int, ...]] = set()
        self._shown: dict[int, dict[tuple[int, int], list[int]]] = {}
        for round_number, client, step, row in shown:
            self._shown.setdefault(round_number, {}).setdefault((client, step), []).append(row)

    def to_show(self, round_number: int, rows: int) -> list[Chosen]:
        """What is shown of this round, as far as it is there yet; where nobody said what, the first rows, so many.

        It is of the audit once there is any of that.
        """
        audited = next(self._of(round_number, Phase.AUDIT), None) is not None
        seen = self._of(round_number, Phase.AUDIT if audited else Phase.TRAIN)
        wanted = self._shown.get(round_number)
        return _first(seen, rows) if wanted is None else _named(seen, wanted)

    def training(self, round_number: int) -> list[Observation]:
        """What was seen of a training round and is still there."""
        return list(self._of(round_number, Phase.TRAIN))

    def settled(self, final: Final, deadline_s: float, asked_to_stop: threading.Event) -> list[Observation]:
        """Those of the final front, once all expected ones are on disk or the wait is over."""
        deadline = time.monotonic() + deadline_s
        while True:
            observed = list(self._of(final.round, Phase.AUDIT))
            rows = sum(len(observation.activation) for observation in observed)
            if rows >= final.rows:
                return observed
            if time.monotonic() > deadline:
                self._warn(f"the attacker saw {rows} of {final.rows} activations of the final front")
                return observed
            if asked_to_stop.wait(IDLE_S):
                return observed

    def _of(self, round_number: int, phase: Phase) -> Iterator[Observation]:
        for observation in read_observations(self._folder, round=round_number, phase=phase):
            shape = tuple(observation.activation.shape[1:])
            if shape == (self._width,):
                yield observation
            elif shape not in self._foreign:
                self._foreign.add(shape)
                self._warn(f"activations of shape {shape} are left alone: this defense sends ({self._width},)")


def _first(observed: Iterator[Observation], rows: int) -> list[Chosen]:
    chosen, found = [], 0
    for observation in observed:
        chosen.append(Chosen.all_of(observation))
        found += len(observation.activation)
        if found >= rows:
            break
    return chosen


def _named(observed: Iterator[Observation], wanted: Mapping[tuple[int, int], Sequence[int]]) -> list[Chosen]:
    """These rows by client and step."""
    return [
        Chosen(seen, np.array([row for row in rows if row < len(seen.activation)], np.int64))
        for seen in observed
        if (rows := wanted.get((seen.client, seen.step)))
    ]


def affordable(chosen: Sequence[Chosen], most: int | None) -> list[Chosen]:
    """Which rows of each observation to reconstruct: all, or `most` of them, evenly spaced over clients and steps.

    Which streams came first is up to the network, so that they are put in order before anything is left out.
    """
    ordered = sorted(chosen, key=lambda part: (part.seen.client, part.seen.step))
    ends = np.cumsum([0, *(len(part.rows) for part in ordered)])
    total = int(ends[-1])
    kept = np.arange(total) if most is None or most >= total else np.linspace(0, total - 1, most).astype(np.int64)
    places = [kept[(kept >= start) & (kept < end)] - start for start, end in pairwise(ends)]
    return [Chosen(part.seen, part.rows[own]) for part, own in zip(ordered, places, strict=True) if len(own)]
