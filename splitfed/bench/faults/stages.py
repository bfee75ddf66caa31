"""Where scripts are played: each stage has kinds of its own, a deadline, and a way to play and to judge them."""

from __future__ import annotations

import logging
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitfed.bench.faults import child, judge, lab, play, superlink
from splitfed.bench.faults.deadline import HangError, within
from splitfed.bench.faults.kinds import KINDS, Party
from splitfed.bench.faults.script import Script, draw
from splitfed.experiment.threads import one_thread

Play = Callable[[Script, Path], tuple[dict[str, Any], list[str]]]
"""Plays a script in a folder: what was found, for people, and what of it is not as it has to be."""


@dataclass(frozen=True)
class PlayedOn:
    """One way to play scripts.

    Attributes:
        name: in the output.
        targets: whom its faults strike.
        every: each so-many-th run is played here, unless on a stage before this one.
        deadline_s: how long a run may take; what takes longer hangs.
        play: plays and judges.
        clients: the fewest, and the most.
        most_faults: in one script.
    """

    name: str
    targets: tuple[Party, ...]
    every: int
    deadline_s: float
    play: Play
    clients: tuple[int, int]
    most_faults: int

    @property
    def kinds(self) -> list[str]:
        """The names of its kinds."""
        return [name for name, kind in KINDS.items() if kind.target in self.targets]

    def script(self, seed: int, number: int) -> Script:
        """The script of this number."""
        return draw(seed, number, self.kinds, clients=self.clients, most_faults=self.most_faults)


def _play_federation(script: Script, folder: Path) -> tuple[dict[str, Any], list[str]]:
    found = play.play(script, folder)
    told = {"lost": found.lost, "errors": found.errors, "begins": found.begins}
    return told, judge.mismatches(script, found)


STAGES = [
    PlayedOn("deployment", (Party.SUPERLINK,), 53, 300.0, superlink.strike, (2, 2), 1),
    PlayedOn("lab", (Party.ATTACKER, Party.LAB), 16, 120.0, lab.strike, (8, 12), 1),
    PlayedOn(
        "federation",
        (Party.CLIENT, Party.NETWORK, Party.RELAY, Party.SERVER),
        1,
        60.0,
        _play_federation,
        (2, 4),
        3,
    ),
]
"""The first one whose turn it is plays; a further one, such as a deployment, is an entry before the last."""


def stage_of(number: int) -> tuple[PlayedOn, int]:
    """Who plays the run of this number, and how many runs were played there before it."""
    before = dict.fromkeys((stage.name for stage in STAGES), 0)
    for at in range(number + 1):
        stage = next(stage for stage in STAGES if (at + 1) % stage.every == 0)
        before[stage.name] += 1
    return stage, before[stage.name] - 1


@contextmanager
def quiet() -> Iterator[None]:
    """While it lasts, one thread as in any run; and what the faults bring about is told by what is found alone."""
    logger = logging.getLogger("splitfed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with one_thread():
            yield
    finally:
        logger.setLevel(before)


def run(seed: int, number: int) -> dict[str, Any]:
    """Play the script of this number: what was to happen, what did, and what is wrong with it."""
    stage, turn = stage_of(number)
    script = stage.script(seed, turn)
    child.warm_up()  # no part of what may hang
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            found, wrong = within(stage.deadline_s, lambda: stage.play(script, Path(folder)))
        except HangError as error:
            found, wrong = {}, [f"hangs: {error}"]
        except Exception as error:
            found, wrong = {}, ["".join(traceback.format_exception(error))]
    return {
        "run": number,
        "stage": stage.name,
        "clients": script.clients,
        "rounds": script.rounds,
        "faults": [fault.told() for fault in script.faults],
        "found": found,
        "wrong": wrong,
        "seconds": round(time.monotonic() - began, 2),
    }
