"""A network that is taught what the classifier answered, to be descended through where only answers are to be had.

Distillation (Hinton, Vinyals and Dean 2015, arXiv 1503.02531) from queries: Papernot et al. 2017 do it to fool a
classifier they cannot see, LOKT (Nguyen et al. 2023, arXiv 2310.19342) to invert one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.models.front import Normalize, initialize
from splitfed.types import ImageShape

BATCH = 128
LEARNING_RATE = 1e-3


class Surrogate:
    """Learns from all answers so far.

    Args:
        shape: of an image.
        classes: K.
        width: of each of its two hidden layers.
        draws: of its weights and the order in which it learns.
    """

    def __init__(self, shape: ImageShape, classes: int, width: int, draws: torch.Generator) -> None:
        self._network = nn.Sequential(
            Normalize(),
            nn.Flatten(),
            nn.Linear(shape.pixels, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            nn.Linear(width, classes),
        )
        initialize(self._network, draws)
        self._draws = draws
        self._images: list[Tensor] = []
        self._answers: list[Tensor] = []
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE, fused=True)

    def remember(self, images: Tensor, probabilities: Tensor) -> None:
        """Images (B, C, H, W) and what the classifier said of them, (B, K)."""
        self._images.append(images.detach())
        self._answers.append(probabilities.detach())

    @torch.enable_grad()
    def learn(self, epochs: int) -> float:
        """Go over all answers; the mean Kullback-Leibler divergence from them in the last pass, nats."""
        if len(self._images) > 1:  # put together once, not in each pass
            self._images, self._answers = [torch.cat(self._images)], [torch.cat(self._answers)]
        (images,), (answers,) = self._images, self._answers
        self._network.requires_grad_(True)
        divergence = 0.0
        for _ in range(epochs):
            total = 0.0
            for rows in torch.split(torch.randperm(len(images), generator=self._draws), BATCH):
                said = self._network(images[rows]).log_softmax(dim=1)
                loss = F.kl_div(said, answers[rows], reduction="batchmean")
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                total += loss.item() * len(rows)
            divergence = total / len(images)
        self._network.requires_grad_(False)
        return divergence

    def logits(self, images: Tensor) -> Tensor:
        """(B, K), of mean zero for each image, differentiably: what `losses.centered` makes of probabilities."""
        scores: Tensor = self._network(images)
        return scores - scores.mean(dim=1, keepdim=True)
