"""What one attack came to, in the lab: what its process says, what it made, and the truth behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splitfed.attacker.protocol import Attacked
from splitfed.types import Images, Reconstruction


@dataclass(frozen=True)
class AttackOutcome:
    """What one attack reached, as its process reported it, with the images behind its reconstructions.

    Attributes:
        report: what it says of itself.
        reconstruction: what it made, of clients' own images alone.
        truth: these images.
        audited: of a training round, the opaque index under which each of these images is audited.
        sent: of a training round, how many activations of clients' own images were sent in it.
    """

    report: Attacked
    reconstruction: Reconstruction
    truth: Images
    audited: np.ndarray | None = None
    sent: int | None = None

    @property
    def of_audited(self) -> Reconstruction:
        """The same images under the index by which victims are known: that of the audit."""
        made = self.reconstruction
        return made if self.audited is None else Reconstruction(self.audited, made.images)
