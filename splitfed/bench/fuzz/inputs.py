"""Every input is a function of a seed, a case, and a number, so that one that fails can be sent again by itself."""

from __future__ import annotations

from random import Random


def randomness(seed: int, case: str, number: int) -> Random:
    """What input ``number`` of a case is drawn from.

    >>> randomness(0, "proofs", 7).random() == randomness(0, "proofs", 7).random()
    True
    """
    return Random(f"{seed} {case} {number}")
