"""The back: the layers that the server holds."""

from __future__ import annotations

from torch import Tensor, nn

from splitfed.models.front import hidden


class Back(nn.Module):
    """From what the clients release to class scores: hidden layers of one width, then Linear(width, classes).

    Args:
        released: numbers per image that leave a client.
        width: d, of the hidden layers.
        classes: scores per image.
        hidden_layers: (Linear, ReLU) before the last layer: 1 in DESIGN section 4, none in the end-to-end threat, where
            they are the client's.
    """

    def __init__(self, released: int, width: int, classes: int, hidden_layers: int = 1) -> None:
        super().__init__()
        first = [nn.Linear(released, width), nn.ReLU(), *hidden(width, hidden_layers - 1)] if hidden_layers else []
        self.layers = nn.Sequential(*first, nn.Linear(width if hidden_layers else released, classes))

    def parts(self) -> tuple[nn.Module, nn.Module]:
        """All layers but the last, and the last one, the head: views of the same weights."""
        return self.layers[:-1], self.layers[-1]

    def forward(self, activation: Tensor) -> Tensor:
        """Activation (B, released) -> scores (B, classes)."""
        scores: Tensor = self.layers(activation)
        return scores
