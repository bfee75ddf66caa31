"""The front that the attacker holds as a participant."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from splitfed.defenses.base import Defense
from splitfed.metrics.fingerprint import fingerprint
from splitfed.models.front import Front
from splitfed.types import Channel, Images, Knowledge, Phase


class HeldFront:
    """Images in, activations out, as a client would send them: the front, then the defense's `protect`.

    Several attacks ask about the same images, and a sparse front is expensive to run, so its output for a batch is
    kept. The noise of a randomized defense is drawn anew each time.

    Args:
        front: in evaluation mode; of a front in training, batch norm may take the statistics of its batch.
        defense: of the cell.
        phase: in which its `protect` acts.

    Attributes:
        front: its weights frozen.
        nonnegative: whether its output is never negative.
    """

    def __init__(self, front: Front, defense: Defense, phase: Phase = Phase.AUDIT) -> None:
        self.front = front.requires_grad_(False)
        self.nonnegative = front.nonnegative
        self._defense = defense
        self._phase = phase
        self._before_relu = _before_last_relu(front)
        self._kept: dict[bytes, Tensor] = {}

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """One draw of what clients that hold this front send for these images."""
        return self._defense.protect(self.output(pixels), generator, self._phase)

    def expected(self, pixels: Tensor) -> Tensor:
        """The mean of these draws, differentiably."""
        return self._defense.expected(self.output(pixels), self._phase)

    @torch.no_grad()
    def channel(self, pixels: Tensor) -> Channel | None:
        """How these draws are distributed, where the defense says."""
        return self._defense.channel(self.output(pixels), self._phase)

    @torch.no_grad()
    def pre_activation(self, pixels: Tensor) -> Tensor | None:
        """What the front's last ReLU gets, (B, d); None where the front does not end in one."""
        return self._before(pixels) if self._before_relu is not None else None

    def knowledge(self, auxiliary: Images, *, labels_in_clear: bool) -> Knowledge:
        """What the attacker has with this front, its own images, and labels that travel in clear or do not."""
        return Knowledge(
            auxiliary,
            self,
            expected=self.expected,
            front=self.front,
            randomized=self._defense.randomized,
            nonnegative=self.nonnegative,
            expensive=self.front.expensive,
            labels_in_clear=labels_in_clear,
            channel=self.channel,
            pre_activation=self.pre_activation,
        )

    def fingerprint(self) -> str:
        """A hash of the front's weights: it must be the same before and after an attack."""
        return fingerprint(self.front.state_dict())

    def output(self, pixels: Tensor) -> Tensor:
        """The front's output (B, ...), before the defense's `protect`."""
        before = self._before(pixels)
        return before.relu() if self._before_relu is not None else before

    def _before(self, pixels: Tensor) -> Tensor:
        """What the last ReLU gets, or the output of a front that does not end in one."""
        if pixels.requires_grad:
            return self._run(pixels)
        key = hashlib.blake2b(pixels.contiguous().numpy().data, digest_size=16).digest()
        if key not in self._kept:
            self._kept[key] = self._run(pixels)
        return self._kept[key]

    def _run(self, pixels: Tensor) -> Tensor:
        before: Tensor = self.front(pixels) if self._before_relu is None else self._before_relu(self.front.stem(pixels))
        return before


def _before_last_relu(front: Front) -> nn.Module | None:
    """The front's body without the ReLU at its end; the same layers, not copies of them."""
    body = front.body
    return body[:-1] if isinstance(body, nn.Sequential) and isinstance(body[-1], nn.ReLU) else None


class FrontWatch:
    """Who moved the front that all attacks are to leave alone.

    Attributes:
        before: the front's fingerprint at first.
        now: the same when it was last looked at.
        moved_by: names of the attacks after whose work it had changed.
    """

    def __init__(self, held: HeldFront) -> None:
        self._held = held
        self.before = self.now = held.fingerprint()
        self.moved_by: list[str] = []

    def blame(self, attack: str) -> None:
        """Look at the front after this attack's work."""
        now = self._held.fingerprint()
        if now != self.now and attack not in self.moved_by:
            self.moved_by.append(attack)
        self.now = now
