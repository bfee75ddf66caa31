"""Which of what clients sent was attacked, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitfed.records.results import Results

IN_TRAINING = (
    "NAME@TRAINr: the attack of that name on what clients sent in training round r, under a front known but roughly."
)
"""What a phase behind the name of an attack says."""
AUDIT_ALONE = "What clients sent in training was not attacked: scores are of the audit alone."
"""What is said where no attack faced it."""


def sentences(results: Results) -> list[str]:
    """What a reader must know of the phases; nothing where there was nothing to attack."""
    attacked = {score.phase for cell in results.cells for score in cell.attacks.values()}
    if attacked == {"AUDIT"}:
        return [AUDIT_ALONE]
    best = (cell.strongest_score for cell in results.cells)
    return [IN_TRAINING] if any(score.phase == "TRAIN" for score in best if score is not None) else []
