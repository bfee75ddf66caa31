"""No defense: the reference that every other one is compared with."""

from __future__ import annotations

from splitfed.defenses.base import Defense, Finding, TapEvidence


class NoDefense(Defense):
    """Activations leave as they are."""

    name = "none"
    about = "no defense: activations leave as they are"
    source = "the reference"

    def finding(self, evidence: TapEvidence) -> Finding:
        """The tapped activations must be the front's own output, but for rounding and the codec."""
        error = (evidence.tapped - evidence.clean).abs().max().item()
        # a batch of another size may take another summation order: a few units of float32 rounding
        rounding = 1e-5 * max(1.0, evidence.clean.abs().max().item())
        bound = evidence.codec_bound + rounding
        return Finding(
            error <= bound, f"tapped activations differ from the front's by {error:.2g} (at most {bound:.2g})"
        )
