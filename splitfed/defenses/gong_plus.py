"""The defense of Gong et al. 2023 with continual learning ("gong++" in Dibbo et al. 2024, arXiv 2403.14772).

The original adds "the concept of continual learning to improve the utility of the model"; its abstract does not say
which. Here it is elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796), the standard way that needs
nothing but the weights: the client's own images are what was learned first, the GAN-made ones are the new task.

- In each round a client first fits a copy of its front to its own images alone, then trains on all images while its
  front is held to that copy, each weight as firmly as the Fisher information says it matters for the own images. In
  each round, since a client's front is replaced by the average at its start, and an older anchor would pull it back.
- The client does not hold the back: the copy is fitted with a linear layer of its own in its place.
- The Fisher information is divided by its largest value, and its weight is 10 (`consolidation_weight`): the most
  important weight goes back half of its way in one step of SGD at a learning rate of 0.05, and weights that do not
  matter are free.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from splitfed.defenses.base import TapEvidence, TrainingBatch
from splitfed.defenses.gong import Gong, GongOptions, term_acts
from splitfed.metrics.findings import Finding
from splitfed.models.consolidation import Anchor, consolidate
from splitfed.models.front import Front
from splitfed.types import Images


class GongPlusOptions(GongOptions):
    """Options of `GongPlus`."""

    consolidation_weight: float = Field(default=10.0, gt=0)
    """λ in eq. 3 of Kirkpatrick et al., for a Fisher information of at most 1."""
    consolidation_epochs: int = Field(default=1, ge=1)
    """Passes over the client's own images before each round's training on all of them."""


class GongPlus(Gong):
    """`Gong`, its front held to what the client's own images teach it."""

    name = "gong++"
    about = "gong with continual learning: weights that matter for real images are held"
    source = "Gong et al. 2023, DOI 10.1109/TIFS.2023.3295944"
    Options = GongPlusOptions
    unchanged = (*Gong.unchanged, "_own")
    options: GongPlusOptions

    def __init__(self, options: GongPlusOptions) -> None:
        super().__init__(options)
        self._own: Images | None = None
        self._seed = 0
        self._anchor: Anchor | None = None  # of one round, whose front no other round has

    def generate(self, images: Images, generator: torch.Generator) -> Images:
        made = super().generate(images, generator)
        self._own = images
        self._seed = int(torch.randint(2**62, (), generator=generator))
        return made

    def regularizer(self, batch: TrainingBatch) -> Tensor | None:
        """The adjusted loss of `Gong`, and the consolidation."""
        misleading = super().regularizer(batch)
        if misleading is None or self._own is None:
            return None
        if self._anchor is None:
            self._anchor = self._consolidate(batch.front, self._own)
        consolidation = self.options.consolidation_weight * self._anchor.regularizer(batch.front.body)
        return misleading + self._term("consolidation", consolidation, batch)

    def _consolidate(self, front: Front, own: Images) -> Anchor:
        drawn_from = torch.Generator().manual_seed(self._seed)
        return consolidate(front, own, epochs=self.options.consolidation_epochs, generator=drawn_from)

    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """As `Gong`, and the consolidation pulled at every client's front."""
        return [*super().findings(evidence), term_acts("consolidation", evidence.measures)]
