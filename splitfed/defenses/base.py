"""What a defense may change: the front, what is trained on and how, and what leaves the client."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from splitfed.errors import PluginError
from splitfed.metrics.findings import Finding
from splitfed.models.front import Front, FrontSpec, PlainFront, initialize
from splitfed.options import Options
from splitfed.types import Channel, Images, Phase

Figures = Mapping[str, float]
"""Named numbers; the name carries the unit."""


@dataclass(frozen=True)
class TrainingBatch:
    """One training step of a client, as an extra term of its loss sees it.

    Attributes:
        pixels: (B, C, H, W) in [0, 1].
        labels: int64, (B,).
        output: (B, ...), the front's output before `Defense.protect`, as a part of the graph.
        hidden: (B, ...) each, what the ReLUs of the front gave on the way to it.
        front: the front in training.
    """

    pixels: Tensor
    labels: Tensor
    output: Tensor
    hidden: tuple[Tensor, ...]
    front: Front


@dataclass(frozen=True)
class TrainingPlan:
    """How long each client trains, and on how much.

    Attributes:
        images: images that each client trains on, own and generated.
        batch_size: images per step.
        rounds: federated rounds.
        client_rounds: in how many of them each client trains, in the order of `images`; empty where each trains in all.
        local_epochs: passes over the images in each round.
        classes: classes of the labels.
    """

    images: tuple[int, ...]
    batch_size: int
    rounds: int
    local_epochs: int
    classes: int
    client_rounds: tuple[int, ...] = ()

    @property
    def epochs(self) -> tuple[int, ...]:
        """How often each client passes over its images in all."""
        rounds = self.client_rounds or (self.rounds,) * len(self.images)
        return tuple(own * self.local_epochs for own in rounds)


@dataclass(frozen=True)
class TapEvidence:
    """What was seen at the tap, beside what the final front gives for the same images without `protect`.

    Attributes:
        front: the final front, in evaluation mode.
        pixels: (N, C, H, W) in [0, 1], the images behind the tapped activations.
        labels: int64, (N,).
        clean: (N, ...), the front's output for them, in the client's batches and through the run's codec.
        tapped: (N, released), decoded from the wire.
        measures: of each client, in their order, what `Defense.measures` said after the last training round that it
            took part in.
        plan: how long each client trained.
    """

    front: Front
    pixels: Tensor
    labels: Tensor
    clean: Tensor
    tapped: Tensor
    measures: Sequence[Figures]
    plan: TrainingPlan


class Defense(ABC):
    """A defense: a front, how it is trained, and what happens to its output before it leaves the client.

    Subclasses set `name`, `about` and `source`, declare their own `Options`, and override what they change.

    **What an instance may keep.** `generate` may keep what it learned of the client's images in the instance. Each
    round of a client, of preparation or of training, then works on an instance of its own, which `begin_round` copies
    from that one; so does each stream at the server. What a round leaves in its instance is reported by `measures` when
    the round is over, and is dropped with it, also where the client was lost halfway. TEST, AUDIT and the attacker have
    instances that never generated or trained anything.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """One line for `splitfed defenses`."""
    source: ClassVar[str]
    """The method's own paper."""
    randomized: bool = False
    """Whether two activations of one image differ; attacks then average over the randomness. Of a class, or of an
    instance where it depends on the options."""
    per_sample: bool = False
    """Whether what it promises needs each sample's gradient to be that sample's alone; codecs that mix samples are
    refused then."""
    unchanged: ClassVar[tuple[str, ...]] = ()
    """Attributes that no round changes: its instance shares them instead of copying them. For what is large."""
    Options: ClassVar[type[Options]] = Options

    round: int = 0
    """The round that this instance serves: of preparation or of training, from 1; 0 for one that serves none."""

    def __init__(self, options: Any) -> None:
        self.options = options

    # a round

    def begin_round(self, number: int) -> Self:
        """An instance for one round: as this one is now, and nothing that happens to it comes back.

        Raises:
            PluginError: what the defense keeps cannot be copied.
        """
        shared = {id(value): value for name in self.unchanged if (value := getattr(self, name)) is not None}
        try:
            own = copy.deepcopy(self, shared)
        except Exception as error:
            raise PluginError(
                f"defense {self.name}: what it keeps cannot be copied for a round ({error}); make it in "
                "`regularizer` or `backward`, or name it in `unchanged` if no round changes it"
            ) from error
        own.round = number
        return own

    # the network

    def build_front(self, spec: FrontSpec, generator: torch.Generator) -> Front:
        """A front that fits, its weights drawn from `generator`."""
        front = PlainFront(spec.shape, spec.width, spec.hidden_layers)
        initialize(front, generator)
        return front

    def released(self, width: int) -> int:
        """Numbers per image that leave the client, where linear layers are `width` wide."""
        return width

    # before training

    def prepare_rounds(self) -> int:
        """Federated rounds before training in which each client calls `prepare`; 0 for none."""
        return 0

    def prepare(  # noqa: B027 - most defenses have nothing to prepare
        self, front: Front, pixels: Tensor, generator: torch.Generator
    ) -> None:
        """Change `front` in place by what a client can learn from its own images without labels."""

    def generated(self, images: int) -> int:  # noqa: ARG002
        """How many images `generate` adds for a client with so many of its own."""
        return 0

    def generate(self, images: Images, generator: torch.Generator) -> Images:  # noqa: ARG002
        """Images that a client trains on besides its own, made from these: `generated(len(images))` of them.

        Called at least once per client, with the same generator each time. What an attack is scored on is never of
        them.
        """
        return images[:0]

    # in each step

    def protect(self, output: Tensor, generator: torch.Generator, phase: Phase) -> Tensor:  # noqa: ARG002
        """What leaves the client instead of the front's output (B, ...): (B, released); gradients pass through."""
        return output

    def regularizer(self, batch: TrainingBatch) -> Tensor | None:  # noqa: ARG002
        """An extra term of the client's loss, a scalar with gradient; None for none."""
        return None

    def backward(
        self,
        module: nn.Module,
        inputs: Tensor,  # noqa: ARG002
        output: Tensor,
        gradient: Tensor,
        generator: torch.Generator,  # noqa: ARG002
    ) -> None:
        """Add to the gradients of a module's parameters: of a client's front body, of the server's back, and of the
        client's head where labels stay with it.

        Args:
            module: a front's body, a back or a head; `output` is `module(inputs)`, as a part of the graph.
            inputs: (B, ...).
            output: (B, ...).
            gradient: of the batch's mean loss with respect to `output`.
            generator: for randomized gradients.
        """
        output.backward(gradient, inputs=trainable(module))  # type: ignore[no-untyped-call]

    def measures(self) -> Figures:
        """What this instance measured in its round, for `findings` and `figures`; measuring changes nothing."""
        return {}

    # after training

    def expected(self, output: Tensor, phase: Phase = Phase.AUDIT) -> Tensor:  # noqa: ARG002
        """What `protect` gives on average in this phase, differentiably: what an attack that averages works with."""
        return output

    def channel(self, output: Tensor, phase: Phase = Phase.AUDIT) -> Channel | None:  # noqa: ARG002
        """How `protect` distributes what leaves in this phase for the front's output (B, ...): what an attack that
        weighs images by their likelihood works with. None where it draws nothing, or draws the numbers of an activation
        together; such attacks then measure the noise themselves."""
        return None

    @abstractmethod
    def findings(self, evidence: TapEvidence) -> list[Finding]:
        """What shows that the defense acted, measured at the tap (gate 4); `metrics.findings` has the means."""

    def figures(self, evidence: TapEvidence) -> Figures:  # noqa: ARG002
        """What to report beside the scores, such as the ε of differential privacy."""
        return {}


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimizer moves."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
