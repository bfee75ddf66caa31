"""The back: the layers that the server holds."""

from __future__ import annotations

from torch import Tensor, nn


class Back(nn.Module):
    """Linear(width, width), ReLU, Linear(width, classes): from activations to class scores (DESIGN, section 4)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, activation: Tensor) -> Tensor:
        """Activation (B, width) -> scores (B, classes)."""
        scores: Tensor = self.layers(activation)
        return scores
