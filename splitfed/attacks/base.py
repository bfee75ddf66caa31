"""What every attack is: something that learns to invert a front from what the attacker knows.

An attack sees its own auxiliary images and the front that it holds as a participant (`types.Knowledge`), and the
activations that the tap recorded. It never sees an image of a victim, and it may call the front
and read its weights, but never change them.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor

from splitfed.options import Options
from splitfed.types import FitEvidence, Knowledge

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Progress:
    """How far an attack has come with the present front.

    Attributes:
        epoch: units of work done since the attack was made, from 1.
        train_loss: the attack's own loss on the fit part of the auxiliary images, mean over this unit.
        validation_loss: the same on the validation part after this unit.
        plateaued: whether the validation loss no longer falls.
        finished: whether to stop: plateaued, or the attack's own limit on its work is reached.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    plateaued: bool
    finished: bool


class Attack(ABC):
    """Observation + Knowledge -> Reconstruction.

    Call ``begin`` once per front, then ``advance`` until it says finished (or as often as there is time), then
    ``reconstruct`` at any moment. The same generator seeds give the same images with one thread.

    Subclasses set `name`, `about` and `adaptivity`, and declare their own `Options`.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for `splitfed attacks`."""
    adaptivity: ClassVar[str]
    """One line: what it does about a randomized defense. An attack that does nothing about it makes noise look
    like protection."""
    needs: ClassVar[str] = "nothing in particular"
    """What a front must have for the attack to apply; see `applies`."""
    needs_labels: ClassVar[bool] = False
    """Whether `reconstruct` takes the labels that travel in clear; what its signature says."""
    live: ClassVar[bool] = True
    """Whether it also faces the fronts of training. One that is slow and carries nothing over to the next front need
    not: it would hold the others up."""
    faces_training: ClassVar[bool] = False
    """Whether it also faces the streams of training once that is over, whose front it does not know exactly: what is
    fitted in seconds can."""
    caps: ClassVar[Mapping[str, int]] = {}
    """The options that limit its work, each with the value from which on it stops for other reasons, such as a plateau;
    see `splitfed.attacks.effort`."""
    is_control: ClassVar[bool] = False
    """Whether it is reported beside the attacks, never as the strongest, and not asked whether it learned."""
    Options: ClassVar[type[Options]] = Options

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.needs_labels = "labels" in inspect.signature(cls.reconstruct).parameters

    def __init__(self, options: Any) -> None:
        self.options = options

    def applies(self, knowledge: Knowledge) -> bool:  # noqa: ARG002
        """Whether there is anything for this attack in such a front; if not, it is not mounted."""
        return True

    def most_observations(self) -> int | None:
        """How many observations it can afford to reconstruct with the present front; None for all of them."""
        return None

    def build_on(self, others: Sequence[Attack]) -> None:  # noqa: B027 - most attacks stand alone
        """Called before ``begin`` with the attacks that were mounted before this one and face the same front.

        They are further on than this one whenever it is asked to ``advance``. It may start from what they reconstruct,
        and must not make them learn.
        """

    @abstractmethod
    def begin(self, knowledge: Knowledge, generator: torch.Generator) -> None:
        """Face a front: the first, or the one of a new round.

        A trained attack keeps its weights as a warm start and refreshes its statistics. The auxiliary images
        may grow but must begin with those of the call before.

        Raises:
            AttackError: there are too few auxiliary images, or others than before.
        """

    @abstractmethod
    def advance(self) -> Progress:
        """Do one unit of work: an epoch for a trained attack, the whole solve for a closed form."""

    @abstractmethod
    def reconstruct(self, activation: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] from observed activations (B, ...).

        An attack may also take ``labels``, int64 (B,), as its second argument: it then gets those of the activations,
        or None where these do not travel in clear.
        """

    @abstractmethod
    def evidence(self) -> FitEvidence:
        """What the training did with the present front; call it after ``advance``."""


def images_of(attack: Attack, activation: Tensor, labels: Tensor | None) -> Tensor:
    """What an attack makes of activations (B, ...) whose labels, (B,), travel with them, or do not."""
    if not attack.needs_labels:
        return attack.reconstruct(activation)
    return cast("Callable[[Tensor, Tensor | None], Tensor]", attack.reconstruct)(activation, labels)
