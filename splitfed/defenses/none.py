"""No defense: the reference that every other one is compared with."""

from __future__ import annotations

from splitfed.defenses.base import Defense, TapEvidence
from splitfed.metrics.findings import Finding, is_identity


class NoDefense(Defense):
    """Activations leave as they are."""

    name = "none"
    about = "no defense: activations leave as they are"
    source = "the reference"

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """What was tapped is the front's own output, bit for bit."""
        return [is_identity(evidence.tapped, evidence.clean)]
