"""What the two ends of a stream agree on, whatever carries it: `Hello`, a `Session` and the `SessionHost`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from splitfed.types import Phase


@dataclass(frozen=True)
class Hello:
    """Who opens a stream, and for what; see `Hello` in split.proto.

    Attributes:
        run: the run (one cell of a scenario) that the stream belongs to.
        round: federated round, from 1.
        client: the client's number, from 0.
        phase: what the activations are for.
        shape: of one activation, without the batch.
        codec: a name in `wire.codec.CODECS`; both directions use it.
        token: the client's own, with which its stream proves who it is; it is never sent, so a server has none.
        next_step: the first step that the client has no answer for; above 0 only when a broken stream goes on.
        keeps_labels: whether labels and the last layer stay with the client: the session is a `FeatureSession` then.
    """

    run: str
    round: int
    client: int
    phase: Phase
    shape: tuple[int, ...]
    codec: str = "float32"
    token: str = field(default="", repr=False, compare=False)
    next_step: int = 0
    keeps_labels: bool = False

    def __str__(self) -> str:
        return f"client-{self.client} {self.phase.name} round {self.round} of {self.run!r}"


class StepResult(NamedTuple):
    """What became of one batch.

    Attributes:
        loss: mean over the batch.
        correct: how many images were classified right.
        gradient: of the mean loss by the activation, of its shape; None in TEST and AUDIT.
    """

    loss: float
    correct: int
    gradient: Tensor | None


class Session(Protocol):
    """The server's side of one client, round and phase.

    Its methods are never called concurrently. In TRAIN ``update`` follows each ``forward``, exactly once and
    before anything else is called; only a session that is given up may end between the two. In TEST and AUDIT
    nothing is updated.
    """

    next_step: int
    """The step that ``forward`` takes next: 0 at first, one more after each."""

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """Loss and gradient of one batch.

        Args:
            step: equal to ``next_step``, which this call advances.
            activation: float32, (B, *shape), finite, the session's own to keep or change.
            labels: int64, (B,), in [0, classes), or None where labels stay with the client.

        Raises:
            Refused: the batch does not fit; nothing has changed then.
        """

    def update(self) -> None:
        """Apply the optimizer's step to the back; called after the reply was sent, while the client goes on."""

    def finish(self, steps: int, examples: int) -> None:
        """The client is through, with so many batches and images."""


@runtime_checkable
class FeatureSession(Protocol):
    """The server's side of one client, round and phase, where labels and the last layer stay with the client.

    Its methods are never called concurrently. In TRAIN a ``backward`` follows each ``features``, and ``update`` follows
    it, exactly once and before anything else is called; only a session that is given up may end in between. In TEST and
    AUDIT there are ``features`` alone.
    """

    next_step: int
    """The step that ``features`` takes next: 0 at first, one more after each ``backward``, or ``features`` where there
    is none."""

    def features(self, step: int, activation: Tensor) -> Tensor:
        """What the server's layers make of one batch: float32, (B, d).

        Args:
            step: equal to ``next_step``.
            activation: float32, (B, *shape), finite, the session's own to keep or change.

        Raises:
            Refused: the batch does not fit; nothing has changed then.
        """

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        """The gradient of the client's mean loss by the activation, from that by the features, of their shape.

        Raises:
            Refused: it does not fit; nothing has changed then.
        """

    def update(self) -> None:
        """Apply the optimizer's step; called after the reply was sent, while the client goes on."""

    def finish(self, steps: int, examples: int) -> None:
        """The client is through, with so many batches and images."""


class SessionHost(Protocol):
    """Whoever holds the back."""

    classes: int
    """How many classes there are; labels at or above are refused before a session sees them."""

    def open(self, hello: Hello) -> Session | FeatureSession:
        """A session from the start of this round; a second call for the same client starts it afresh.

        It is a `FeatureSession` if and only if ``hello.keeps_labels``.
        The wire has checked who the client is, and the codec; the host checks run, round, client and shape.

        Raises:
            Refused: with a reason of ``Refusal.Reason`` in split.proto.
        """
