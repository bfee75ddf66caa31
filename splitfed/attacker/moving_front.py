"""The front behind TRAIN streams, as far as the attacker knows it: it moves with every step.

The attacker holds the front before a round and the average after it. In between each client goes its own way. What the
attacker learns from is sent through fronts on the straight line between the two, so that what it learns holds for all
of them; what it judges by is sent through fronts that strayed from that line as clients do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from splitfed.attacker.held_front import HeldFront
from splitfed.defenses.base import Defense
from splitfed.models.front import Front
from splitfed.types import Channel, Images, Knowledge, Phase

State = Mapping[str, Tensor]

SHARES, SHARES_EXPENSIVE = (0.5, 0.0, 0.25, 0.75, 1.0), (0.5, 0.0, 1.0)
"""Shares of the way at which there is a front to learn from, the middle one first; fewer of an expensive front."""
JUDGED_AT = (0.125, 0.375, 0.625, 0.875)
"""Shares of the way at which there is a front to judge by: the middle of each quarter of a round."""
STRAY = 0.75
"""How far a client strays from the way of the average, in lengths of that way, at its end. Measured once, on `none` at
Medical MNIST (3,000 images of three clients, round 4): validation with it gives ridge 25.6 dB, the clients' streams
25.6; with 0.5 it would give 26.9, with 1 24.3."""


def between(before: State, after: State, share: float) -> dict[str, Tensor]:
    """The weights at this share of the way; what is no number with a fraction stays as before."""
    return {
        name: value + share * (after[name] - value) if value.is_floating_point() else value
        for name, value in before.items()
    }


def strayed(front: Front, before: State, after: State, share: float, generator: torch.Generator) -> dict[str, Tensor]:
    """The same for a client that went astray: each unit also moves as another one does, chosen by lot.

    Movements of units have the structure of images, which noise on each weight would not have. How far it strays grows
    with the root of the share, as sums of steps in random directions do.
    """
    state, order = between(before, after, share), dict[int, Tensor]()
    for name, parameter in front.named_parameters():
        if not parameter.dim():
            continue
        units = len(parameter)
        lots = order.setdefault(units, torch.randperm(units, generator=generator))  # weights and biases alike
        state[name] = state[name] + STRAY * share**0.5 * (after[name] - before[name])[lots]
    return state


def as_in_training(front: Front, state: State) -> Front:
    """Give ``front`` these weights; batch norm takes the statistics of its batch, as it does in training."""
    front.load_state_dict(state)
    front.after_average()
    front.eval()
    for module in front.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
            module.track_running_stats = False  # none are kept
    return front


class MovingFront:
    """Images in, activations out, as a client would send them at some step of a round.

    Args:
        fronts: on the way from one broadcast to the next, the middle one first.
        defense: whose `protect` acts as in TRAIN.
    """

    def __init__(self, fronts: Sequence[Front], defense: Defense) -> None:
        self._held = [HeldFront(front, defense, Phase.TRAIN) for front in fronts]
        self._defense = defense

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """One draw: each image through one of the fronts by lot, then the defense's own randomness."""
        outputs = torch.stack([held.output(pixels) for held in self._held])
        lots = torch.randint(len(self._held), (len(pixels),), generator=generator)
        return self._defense.protect(outputs[lots, torch.arange(len(pixels))], generator, Phase.TRAIN)

    def knowledge(self, auxiliary: Images, *, labels_in_clear: bool) -> Knowledge:
        """What the attacker has with it: a front that is not known exactly draws at random, whatever the defense."""
        middle = self._held[0]
        return Knowledge(
            auxiliary,
            self,
            expected=middle.expected,
            front=middle.front,
            randomized=True,
            nonnegative=middle.nonnegative,
            expensive=middle.front.expensive,
            labels_in_clear=labels_in_clear,
            channel=self._channel,
        )

    def _channel(self, pixels: Tensor) -> Channel | None:
        """That of the defense; without one, attacks measure how far the fronts are apart."""
        return self._held[0].channel(pixels)
