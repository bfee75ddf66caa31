"""What training has led to: so far, from round to round, and in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from splitfed.defenses.base import Figures
from splitfed.errors import TrainingFailed
from splitfed.models.back import Back
from splitfed.models.front import Front


@dataclass(frozen=True)
class FederationResult:
    """A trained cell.

    Attributes:
        front: the averaged front after the last round.
        back: the averaged back.
        accuracy: on the held-out images after the last round.
        train_accuracy: on the clients' training images, with the final front.
        wire_bytes_per_image: frames sent and received for one training image, mean.
        train_s: seconds of preparation, training and testing.
        history: (training loss, test accuracy) per round.
        refused: how many frames the service refused, by reason.
        measures: what each client's defense measured in the last round that it took part in, by the client's number.
        missed_rounds: by the client's number the rounds that it took no part in, or not in all of, ascending; 0 is
            the preparation, rounds + 1 the audit.
        missed_because: the first reason; empty where nobody missed anything.
        audited: how many images the server received in the audit, by the client's number.
    """

    front: Front
    back: Back
    accuracy: float
    train_accuracy: float
    wire_bytes_per_image: float
    train_s: float
    history: list[tuple[float, float]]
    refused: dict[str, int]
    measures: dict[int, Figures]
    missed_rounds: dict[int, list[int]] = field(default_factory=dict)
    missed_because: str = ""
    audited: Mapping[int, int] = field(default_factory=dict)


@dataclass
class TrainingProgress:
    """What grows from round to round."""

    round: int = 0
    history: list[tuple[float, float]] = field(default_factory=list)
    traffic_bytes: int = 0
    images_sent: int = 0
    train_s: float = 0.0
    measures: dict[int, Figures] = field(default_factory=dict)
    missed_rounds: dict[int, list[int]] = field(default_factory=dict)
    missed_because: str = ""

    def miss(self, client: int, number: int, reason: str) -> None:
        """This client has no part in this round, or not in all of it."""
        missed = self.missed_rounds.setdefault(client, [])
        if number not in missed:
            missed.append(number)
        self.missed_because = self.missed_because or reason


def check_trainable(round_number: int, **averaged: nn.Module) -> None:
    """Whether what was averaged in this round can still be trained.

    Raises:
        TrainingFailed: a weight is NaN or infinite.
    """
    for part, module in averaged.items():
        if not all(bool(value.isfinite().all()) for value in module.state_dict().values()):
            raise TrainingFailed(
                f"round {round_number}: the averaged {part} has NaN or infinite weights: training diverged; "
                "lower federation.learning_rate"
            )
