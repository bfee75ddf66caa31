"""The server's vantage: an honest-but-curious server, which serves well and keeps what it sees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from splitfed.types import Observation, Phase
from splitfed.wire.codec import all_finite
from splitfed.wire.session import FeatureSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from splitfed.wire.session import Hello, Session, SessionHost, StepResult


class CuriousHost:
    """Another host, of which each activation that it answers is also emitted, once, as an `Observation`.

    What it refuses it does not keep, so that it sees what a tap on its wire would. ``emit`` is called by the threads of
    several streams, and must not fail: the stream would.
    """

    def __init__(self, host: SessionHost, emit: Callable[[Observation], None]) -> None:
        self._host = host
        self._emit = emit
        self.classes = host.classes

    def open(self, hello: Hello) -> Session | FeatureSession:
        """The other host's session, observed.

        Raises:
            Refused: by the other host.
        """
        session = self._host.open(hello)
        if isinstance(session, FeatureSession):
            return _CuriousFeatures(session, hello, self._emit)
        return _CuriousSession(session, hello, self._emit)


class _CuriousSession:
    def __init__(self, session: Session, hello: Hello, emit: Callable[[Observation], None]) -> None:
        self._session = session
        self._hello = hello
        self._emit = emit
        self._answered: Observation | None = None
        self.next_step = session.next_step

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        kept = activation.clone()  # the session may change its own
        result = self._session.forward(step, activation, labels)
        self.next_step = self._session.next_step
        hello = self._hello
        seen = Observation(hello.run, hello.round, hello.client, hello.phase, step, kept, labels)
        if hello.phase is Phase.TRAIN:
            self._answered = seen  # if it is: see `update`
        elif math.isfinite(result.loss):
            self._emit(seen)
        return result

    def update(self) -> None:
        """Only what was answered is followed by an update."""
        self._session.update()
        if self._answered is not None:
            self._emit(self._answered)
            self._answered = None

    def finish(self, steps: int, examples: int) -> None:
        self._session.finish(steps, examples)


class _CuriousFeatures:
    def __init__(self, session: FeatureSession, hello: Hello, emit: Callable[[Observation], None]) -> None:
        self._session = session
        self._hello = hello
        self._emit = emit
        self.next_step = session.next_step

    def features(self, step: int, activation: Tensor) -> Tensor:
        kept = activation.clone()  # the session may change its own
        found = self._session.features(step, activation)
        self.next_step = self._session.next_step
        hello = self._hello
        if all_finite(found):  # else it is refused
            self._emit(Observation(hello.run, hello.round, hello.client, hello.phase, step, kept, None))
        return found

    def backward(self, step: int, gradient: Tensor) -> Tensor:
        found = self._session.backward(step, gradient)
        self.next_step = self._session.next_step
        return found

    def update(self) -> None:
        self._session.update()

    def finish(self, steps: int, examples: int) -> None:
        self._session.finish(steps, examples)
