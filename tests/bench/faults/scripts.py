"""The scripts that the tests play: those of one seed, and such as a test puts together."""

from __future__ import annotations

from collections.abc import Iterator

from splitfed.bench.faults.kinds import KINDS
from splitfed.bench.faults.script import Fault, Script
from splitfed.bench.faults.stages import stage_of
from splitfed.types import Phase

SEED, RUNS = 0, 107
"""Which scripts are played, and how many: enough for 200 faults."""


def all_scripts() -> Iterator[Script]:
    """Those of the seed."""
    for number in range(RUNS):
        stage, turn = stage_of(number)
        yield stage.script(SEED, turn)


def fault(name: str, client: int, round_number: int, phase: Phase, step: int) -> Fault:
    """One fault; its number is given by `script`."""
    assert name in KINDS
    return Fault(name, client, round_number, phase, step, number=0)


def script(*faults: Fault, direct: bool = False) -> Script:
    """Three clients, two rounds, and these faults."""
    numbered = (Fault(**{**vars(each), "number": number}) for number, each in enumerate(faults))
    return Script(SEED, 0, 3, 2, direct, "none", tuple(numbered))
