"""Sees to it that every step is applied exactly once, however often a stream breaks.

A `Seat` is a client's place in one round and phase. It outlives the streams that carry it: a client that dials
again takes its seat back, and a step that was already applied is answered with the reply that was kept. Where labels
stay with the client a step has two halves, Forward and Backward, and the reply to the last of them is kept. Nothing
here knows of gRPC.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from splitfed.errors import Refused
from splitfed.types import Phase
from splitfed.wire.answers import answer_to_batch, answer_to_gradient, answer_with_features
from splitfed.wire.checks import check_step, refusal
from splitfed.wire.session import FeatureSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from splitfed.wire.session import Hello, Session, SessionHost

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
_Client = tuple[str, int]  # run, client
_Key = tuple[int, Phase]  # round, phase

_SUPERSEDED_KEPT = 16  # names of streams that a seat remembers, so that an older one does not take it back


class Seat:
    """One client's place in one round and phase.

    Each stream that takes the seat gets a new turn; an older turn is refused from then on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = 0
        self._stream = b""
        self._hello: Hello | None = None
        self._session: Session | FeatureSession | None = None
        self._reply: bytes | None = None
        self._replied_to = ("", -1)  # what kind of question, and of which step
        self._features: tuple[int, ...] | None = None  # their shape, while their gradient is owed
        self._owes_update = False
        self._totals: tuple[int, int] | None = None
        self._superseded: deque[bytes] = deque(maxlen=_SUPERSEDED_KEPT)

    @property
    def taken(self) -> bool:
        """Whether a client has ever sat here."""
        return self._turn > 0

    @property
    def finished(self) -> bool:
        """Whether the client said that it is through."""
        return self._totals is not None

    def take(self, hello: Hello, stream: bytes, host: SessionHost) -> tuple[int, int]:
        """Sit down: go on where the same ``stream`` broke, or start afresh. Returns the turn and the next step.

        Raises:
            Refused: by the host, or because there is nothing to go on from.
        """
        with self._lock:
            if stream in self._superseded:
                raise Refused("SUPERSEDED", f"{hello}: dialed again on another stream")
            if stream == self._stream and self._hello is not None:
                next_step = self._resume(hello)
            else:
                next_step = self._start(hello, stream, host)
            self._turn += 1
            return self._turn, next_step

    def forward(self, turn: int, step: int, activation: Tensor, labels: Tensor | None) -> bytes:
        """The reply to a batch; `settle` is owed once it was sent.

        Raises:
            Refused: another turn has begun, or it is not this step's time, or its result is not finite.
        """
        with self._lock:
            session = self._playing(turn)
            self._settle()
            if step != session.next_step or self._features is not None:
                return self._again("Forward", step, session.next_step)
            if isinstance(session, FeatureSession):
                self._reply = self._show_features(session, step, activation)
            else:
                self._reply = self._answer(session, step, activation, labels)
            self._replied_to = ("Forward", step)
            return self._reply

    def backward(self, turn: int, step: int, gradient: Tensor) -> bytes:
        """The reply to the gradient by the features of a batch; `settle` is owed once it was sent.

        Raises:
            Refused: another turn has begun, it is not this gradient's time, or it has not the features' shape.
        """
        with self._lock:
            session = self._playing(turn)
            self._settle()
            if step != session.next_step or self._features is None:
                return self._again("Backward", step, session.next_step)
            assert isinstance(session, FeatureSession)
            self._reply = self._pull_back(session, step, gradient)
            self._replied_to = ("Backward", step)
            return self._reply

    def settle(self) -> None:
        """Apply the update that the last batch calls for, unless that is done.

        A session that fails here is given up, and its client is told so at its next frame.
        """
        try:
            with self._lock:
                self._settle()
        except Exception:
            logger.exception("%s: its update failed", self._hello)

    def finish(self, turn: int, steps: int, examples: int) -> None:
        """The client is through.

        Raises:
            Refused: another turn has begun, or batches are missing.
        """
        with self._lock:
            if self._totals == (steps, examples) and turn == self._turn:
                return
            session = self._playing(turn)
            self._settle()
            if self._features is not None:
                raise Refused(
                    "OUT_OF_ORDER", f"{self._hello} Done: want the gradient of step {session.next_step} first"
                )
            if steps != session.next_step:
                raise Refused("OUT_OF_ORDER", f"{self._hello} Done: want {session.next_step} steps, got {steps}")
            session.finish(steps, examples)
            self._totals = (steps, examples)
            self._session = self._reply = None

    def _again(self, question: str, step: int, next_step: int) -> bytes:
        """The reply to a question that was answered already."""
        assert self._hello is not None
        check_step(self._hello, step, next_step=next_step)
        if self._reply is None or self._replied_to != (question, step):
            half = " Backward" if self._features is not None else ""
            why = f"want step {next_step}{half}; I have no answer to this {question}"
            raise refusal("OUT_OF_ORDER", self._hello, step, why)
        return self._reply

    def _resume(self, hello: Hello) -> int:
        self._settle()
        if replace(hello, next_step=0) != self._hello:
            raise Refused("OUT_OF_ORDER", f"{hello}: goes on with a stream of another shape or codec")
        answered = self._totals[0] if self._totals is not None else self._playing(self._turn).next_step
        if hello.next_step not in (answered, answered - 1):
            raise Refused("OUT_OF_ORDER", f"{hello}: cannot go on at step {hello.next_step}, I am at {answered}")
        return answered

    def _start(self, hello: Hello, stream: bytes, host: SessionHost) -> int:
        if hello.next_step != 0:
            raise Refused(
                "OUT_OF_ORDER",
                f"{hello}: I have no stream to go on with at step {hello.next_step}; start again from step 0",
            )
        self._session = host.open(hello)
        if self._hello is not None:
            self._superseded.append(self._stream)
        self._stream, self._hello = stream, hello
        self._reply, self._features, self._owes_update, self._totals = None, None, False, None
        return self._session.next_step

    def _playing(self, turn: int) -> Session | FeatureSession:
        if turn != self._turn:
            raise Refused("SUPERSEDED", f"{self._hello}: dialed again on another stream")
        if self._totals is not None:
            raise Refused("OUT_OF_ORDER", f"{self._hello}: has said Done")
        if self._session is None:
            raise Refused("INTERNAL", f"{self._hello}: its session failed, see the server's log; start afresh")
        return self._session

    def _answer(self, session: Session, step: int, activation: Tensor, labels: Tensor | None) -> bytes:
        assert self._hello is not None
        result = self._tried(session, partial(session.forward, step, activation, labels))
        _check_moved(session, step + 1)
        reply = answer_to_batch(self._hello, step, result)
        self._session, self._owes_update = session, self._hello.phase is Phase.TRAIN
        return reply

    def _show_features(self, session: FeatureSession, step: int, activation: Tensor) -> bytes:
        assert self._hello is not None
        trains = self._hello.phase is Phase.TRAIN
        features = self._tried(session, partial(session.features, step, activation))
        _check_moved(session, step if trains else step + 1)
        reply = answer_with_features(self._hello, step, features)
        self._session, self._features = session, tuple(features.shape) if trains else None
        return reply

    def _pull_back(self, session: FeatureSession, step: int, gradient: Tensor) -> bytes:
        assert self._hello is not None
        if tuple(gradient.shape) != self._features:
            why = f"want a gradient of the features' shape {self._features}, got {tuple(gradient.shape)}"
            raise refusal("WRONG_SHAPE", self._hello, step, why)
        found = self._tried(session, partial(session.backward, step, gradient))
        _check_moved(session, step + 1)
        reply = answer_to_gradient(self._hello, step, found)
        self._session, self._features, self._owes_update = session, None, True
        return reply

    def _tried(self, session: Session | FeatureSession, work: Callable[[], Result]) -> Result:
        """What this work of the session's gives; the session is given up, should anything but a refusal come of it."""
        self._session = self._reply = None
        try:
            return work()
        except Refused:
            self._session = session
            raise

    def _settle(self) -> None:
        if self._session is None or not self._owes_update:
            return
        session, self._session, self._owes_update = self._session, None, False
        session.update()
        self._session = session


class Ledger:
    """The seats of all clients of one `SessionHost`."""

    def __init__(self, host: SessionHost) -> None:
        self._host = host
        self._lock = threading.Lock()
        # by client: what one of them does costs the same however many there are
        self._seats: dict[_Client, dict[_Key, Seat]] = {}

    def __len__(self) -> int:
        """How many seats are kept."""
        return sum(map(len, self._seats.values()))

    def take_seat(self, hello: Hello, stream: bytes) -> tuple[Seat, int, int]:
        """The seat that ``hello`` asks for, the turn on it and the next step; see `Seat.take`.

        Raises:
            Refused: by the host, or because there is nothing to go on from.
        """
        client, key = (hello.run, hello.client), (hello.round, hello.phase)
        with self._lock:
            seat = self._seats.setdefault(client, {}).setdefault(key, Seat())
        try:
            turn, next_step = seat.take(hello, stream, self._host)
        except BaseException:
            self._clear(client, key, seat)
            raise
        with self._lock:
            own = self._seats.setdefault(client, {})
            own[key] = seat  # another stream that was refused meanwhile may have cleared it
            self._forget_before(hello, own)
        return seat, turn, next_step

    def _clear(self, client: _Client, key: _Key, seat: Seat) -> None:
        """Keep no seat on which nobody was let sit down, and no client without one."""
        with self._lock:
            own = self._seats.get(client, {})
            if not seat.taken and own.get(key) is seat:
                del own[key]
            if not own:
                self._seats.pop(client, None)

    @staticmethod
    def _forget_before(hello: Hello, own: dict[_Key, Seat]) -> None:
        """Drop what this client will not come back to: earlier rounds, and phases that it has finished."""
        for key, seat in list(own.items()):
            round_, phase = key
            if round_ < hello.round or (phase is not hello.phase and seat.finished):
                del own[key]


def _check_moved(session: Session | FeatureSession, next_step: int) -> None:
    if session.next_step != next_step:
        raise RuntimeError(f"{type(session).__name__} left next_step at {session.next_step}, want {next_step}")
