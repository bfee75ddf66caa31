"""What an attack has of each image: its activation and its label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Seen:
    """Activations and labels of n images, in one order.

    Attributes:
        rows: float32, (n, d), as tapped.
        features: float32, (n, d), the same without what is known to be noise (`Knowledge.features`).
        labels: int64, (n,): the attacker's own, those that were tapped, or a guess of those that were not.
    """

    rows: Tensor
    features: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Tensor | slice) -> Seen:
        return Seen(self.rows[places], self.features[places], self.labels[places])

    def split(self, size: int) -> list[Seen]:
        """The same in batches of at most ``size``."""
        parts = (torch.split(tensor, size) for tensor in (self.rows, self.features, self.labels))
        return [Seen(*part) for part in zip(*parts, strict=True)]


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 at the label, else 0: int64 (n,) to float32 (n, classes)."""
    return F.one_hot(labels, classes).float()
