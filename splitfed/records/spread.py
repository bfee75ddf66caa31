"""The same defense under several seeds, as results keep it."""

from __future__ import annotations

import math

from pydantic import JsonValue

from splitfed.records.numbers import Interval, Number
from splitfed.records.record import Record
from splitfed.records.student import t_quantile


class Spread(Record):
    """Mean and sample standard deviation over ``n`` seeds; no deviation for one."""

    mean: Number
    std: Number
    n: int

    @property
    def ci95(self) -> Interval:
        """The 95 % interval of the mean over seeds, by Student's t; none for one seed."""
        if self.mean is None or self.std is None:
            return None, None
        half = t_quantile(self.n - 1) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half


class DefenseSummary(Record):
    """One defense with its options over its seeds (`records.summary.summarize`), by measure.

    ``difference_to_none`` is empty for the undefended cell, and where there is none to compare with.
    """

    defense: str
    params: dict[str, JsonValue]
    seeds: tuple[int, ...]
    valid: bool
    over_seeds: dict[str, Spread]
    difference_to_none: dict[str, Spread]
