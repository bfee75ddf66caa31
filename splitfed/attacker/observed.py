"""The observations that the attacker works on: what the tap recorded, read back, and which of it is reconstructed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from splitfed.attacker.protocol import Final
from splitfed.types import Observation, Phase
from splitfed.wire.observations import read_observations

IDLE_S = 0.1
"""Between two looks at what has arrived."""


class Observed:
    """Reads the tap's records.

    Args:
        folder: where they lie.
        width: numbers per activation; a client that sends another number, which the server will refuse, is left alone.
        warn: gets a sentence for the user.
    """

    def __init__(self, folder: Path, width: int, warn: Callable[[str], None]) -> None:
        self._folder = folder
        self._width = width
        self._warn = warn
        self._foreign: set[tuple[int, ...]] = set()

    def first(self, round_number: int, rows: int) -> list[Observation]:
        """So many rows of this round, or the few that there are yet; of the audit once there are any."""
        audited = next(self._of(round_number, Phase.AUDIT), None) is not None
        chosen, found = [], 0
        for observation in self._of(round_number, Phase.AUDIT if audited else Phase.TRAIN):
            chosen.append(observation)
            found += len(observation.activation)
            if found >= rows:
                break
        return chosen

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


def affordable(observed: Sequence[Observation], most: int | None) -> list[tuple[Observation, np.ndarray]]:
    """Which rows of each observation to reconstruct: all, or `most` of them, evenly spaced over clients and steps.

    Which streams came first is up to the network, so that they are put in order before anything is left out.
    """
    ordered = sorted(observed, key=lambda o: (o.client, o.step))
    ends = np.cumsum([0, *(len(o.activation) for o in ordered)])
    total = int(ends[-1])
    kept = np.arange(total) if most is None or most >= total else np.linspace(0, total - 1, most).astype(np.int64)
    rows = [kept[(kept >= start) & (kept < end)] - start for start, end in pairwise(ends)]
    return [(observation, own) for observation, own in zip(ordered, rows, strict=True) if len(own)]
