"""What a run needs to go on from its last finished round.

Optimisers start anew each round, and every random draw is seeded by its place, so front, back and round are all
there is to keep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from splitfed.files import write_whole


@dataclass(frozen=True)
class Checkpoint:
    """The state after `round` finished rounds; `history` holds (loss, accuracy) of each of them, `measures` what
    the defense of each client measured in the last, `missed_rounds` which client took no part in which of them, and
    `missed_because` the first reason. Checkpoints that were written before there was such a record have none."""

    round: int
    front: dict[str, Tensor]
    back: dict[str, Tensor]
    history: list[tuple[float, float]]
    traffic_bytes: int
    images_sent: int
    train_s: float
    measures: dict[int, dict[str, float]]
    missed_rounds: dict[int, list[int]] = field(default_factory=dict)
    missed_because: str = ""

    def save(self, path: Path) -> None:
        """Write to `path` in one piece: a crash leaves the old file or the new one.

        Raises:
            UserError: it cannot be written; PyTorch itself does not say why.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        content = BytesIO()
        torch.save(vars(self), content)
        write_whole(path, content.getvalue())

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """What `save` wrote, or None where there is nothing."""
        if not path.is_file():
            return None
        return cls(**torch.load(path, weights_only=True))
