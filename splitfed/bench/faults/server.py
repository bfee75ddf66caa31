"""A server that is slow, fails, or dies; and a grid that waits for those who are to answer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from typing import cast

from flwr.app import Message
from torch import Tensor

from splitfed.bench.faults.clients import asked
from splitfed.bench.faults.network import BEYOND_S
from splitfed.bench.faults.sabotage import LONGEST_S, DeathError, Sabotage
from splitfed.federation.backs import BackHost
from splitfed.runners.local_grid import LocalGrid
from splitfed.wire.session import Hello, Session, StepResult

POLL_S = 0.003


class SabotagedSession:
    """A session whose server meets its faults at the steps of their places."""

    def __init__(self, session: Session, hello: Hello, sabotage: Sabotage) -> None:
        self._session = session
        self._of = hello
        self._sabotage = sabotage

    @property
    def next_step(self) -> int:
        """The step that `forward` takes next."""
        return self._session.next_step

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        """A step, with what is to happen at it."""
        if self._strikes("server is slow", step):
            time.sleep(BEYOND_S)
        if self._strikes("server fails at a step", step):
            raise RuntimeError("the server has a bug")
        if self._strikes("client is killed at its step", step):
            os.kill(self._sabotage.pids[self._of.client], signal.SIGKILL)
        if self._strikes("server is killed", step):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._strikes("server dies at a step", step):
            self._sabotage.death.set()
        return self._session.forward(step, activation, labels)

    def update(self) -> None:
        """The update of the last step, or its failure."""
        if self._strikes("server fails in an update", self.next_step - 1):
            raise RuntimeError("the server has a bug")
        self._session.update()

    def finish(self, steps: int, examples: int) -> None:
        """The client is through."""
        self._session.finish(steps, examples)

    def _strikes(self, name: str, step: int) -> bool:
        of = self._of
        return self._sabotage.strike((name,), of.round, of.phase, of.client, step) is not None


def trouble(host: BackHost, sabotage: Sabotage) -> None:
    """Have the sessions of this host meet their faults."""
    opened = host.open

    def open_troubled(hello: Hello) -> SabotagedSession:
        return SabotagedSession(cast(Session, opened(hello)), hello, sabotage)  # labels go with the activations here

    setattr(host, "open", open_troubled)  # noqa: B010 - mypy takes the plain form for a mistake


class PatientGrid(LocalGrid):
    """A grid for which the deadline of a round begins when all have answered who are to.

    So a machine that is busy loses nobody, and who is frozen is given up soon.
    """

    sabotage: Sabotage

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Push them; return once all have answered but those that stand still.

        Raises:
            DeathError: the server is to die meanwhile.
        """
        sent = list(messages)
        ids = super().push_messages(sent)
        asked_of = dict(zip(ids, sent, strict=True))
        until = time.monotonic() + LONGEST_S
        while not all(map(self._is_over, asked_of.items())) and not self.sabotage.death.is_set():
            assert time.monotonic() < until, "a client neither answers nor fails"
            time.sleep(POLL_S)
        if self.sabotage.death.is_set():
            raise DeathError
        return ids

    def _is_over(self, sent: tuple[str, Message]) -> bool:
        """Whether a client has answered, or stands still as it is to."""
        message_id, message = sent
        round_number, phase = asked(message)
        client = message.metadata.dst_node_id - 1
        return self._pending[message_id].done() or self.sabotage.stands_still(round_number, phase, client)
