"""The undefended cell of a seed, which shows whether the attacker works at all."""

from __future__ import annotations

import math
from collections.abc import Mapping

from splitfed.metrics import gates
from splitfed.metrics.gates import GateResult
from splitfed.records.results import BaselineScore, CellResult

REFERENCE_GATE = "attack_beats_class_mean"
"""The gate that is measured on the undefended cell and holds for all cells of its seed."""


def reference_gate(undefended: CellResult, baselines: Mapping[str, BaselineScore], margin_db: float) -> GateResult:
    """Whether the strongest attack on the undefended cell beats the class mean by the scenario's margin."""
    best = undefended.strongest_score
    if best is None:
        finished = undefended.gates.get("completed", True)
        why = "no attack was mounted on the undefended cell" if finished else "the undefended cell was not completed"
        return GateResult(REFERENCE_GATE, False, why)
    return gates.attack_beats_class_mean(
        attack_psnr_db=_or_nan(best.psnr_db),  # null is how it is stored where it was not finite
        class_mean_psnr_db=_or_nan(baselines["class_mean"].psnr_db),
        margin_db=margin_db,
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
