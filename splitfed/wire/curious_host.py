"""The server's vantage: an honest-but-curious server, which serves well and keeps what it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitfed.types import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from splitfed.wire.session import Hello, Session, SessionHost, StepResult


class CuriousHost:
    """Another host, of which each activation is also emitted, once, as an `Observation`."""

    def __init__(self, host: SessionHost, emit: Callable[[Observation], None]) -> None:
        self._host = host
        self._emit = emit
        self.classes = host.classes

    def open(self, hello: Hello) -> Session:
        """The other host's session, observed.

        Raises:
            Refused: by the other host.
        """
        return _CuriousSession(self._host.open(hello), hello, self._emit)


class _CuriousSession:
    def __init__(self, session: Session, hello: Hello, emit: Callable[[Observation], None]) -> None:
        self._session = session
        self._hello = hello
        self._emit = emit
        self.next_step = session.next_step

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        kept = activation.clone()  # the session may change its own
        result = self._session.forward(step, activation, labels)
        self.next_step = self._session.next_step
        hello = self._hello
        self._emit(Observation(hello.run, hello.round, hello.client, hello.phase, step, kept, labels))
        return result

    def update(self) -> None:
        self._session.update()

    def finish(self, steps: int, examples: int) -> None:
        self._session.finish(steps, examples)
