"""One stream as the tap sees it: an activation counts once the server has answered it.

What breaks the server's own rules is never taken, nor what follows it. What the server answers with a gradient, or with
features where labels stay with the client, is emitted then, what it refuses is dropped. Where the stream ends without
an answer, all that an accepted client had sent in order is emitted: an eavesdropper has seen it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from splitfed.errors import FrameError, WireError
from splitfed.types import Observation, Phase
from splitfed.wire._pb import split_pb2 as pb
from splitfed.wire.checks import check_step, refusal
from splitfed.wire.frames import unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitfed.wire.checks import StreamRules
    from splitfed.wire.session import Hello


class NoRoom(Exception):
    """Too much waits for an answer already."""


class Room:
    """How many bytes may wait for an answer, over all streams of a tap."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def take(self, size: int) -> None:
        """Let ``size`` more bytes wait.

        Raises:
            NoRoom: they do not fit.
        """
        if self.used_bytes + size > self.limit_bytes:
            raise NoRoom
        self.used_bytes += size

    def give_back(self, size: int) -> None:
        """These bytes wait no longer."""
        self.used_bytes -= size


class _Waiting(NamedTuple):
    observation: Observation
    size: int


class TappedStream:
    """Follows one stream; ``emit`` gets each activation that counts."""

    def __init__(self, rules: StreamRules, room: Room, emit: Callable[[Observation], None]) -> None:
        self._rules = rules
        self._room = room
        self._emit = emit
        self._hello: Hello | None = None
        self._next_step: int | None = None  # None until the server has accepted
        self._unheard: list[bytes] = []  # what came before that
        self._last = ("", -1)  # what kind of question came last, and of which step
        self._features: tuple[int, tuple[int, ...]] | None = None  # step and shape of the last that were heard
        self._waiting: deque[_Waiting] = deque()
        self._deaf = False  # the server takes nothing more of the client
        self._full = False  # what the tap had no room for makes the rest unreadable

    def question(self, raw: bytes) -> None:
        """The client said this.

        Raises:
            WireError: the server will not take it, nor anything after it.
            NoRoom: too much waits already; the rest of the stream is lost to the tap.
        """
        if self._full:
            raise NoRoom
        if self._deaf:
            raise FrameError("a frame after one that the server does not take")
        try:
            self._hear(raw)
        except WireError:
            self._deaf = True
            raise
        except NoRoom:
            self._full = True
            raise

    def answer(self, raw: bytes) -> None:
        """The server said this.

        Raises:
            WireError: it cannot be read, or the server will not take what had come before its Accept.
            NoRoom: too much waits already.
        """
        frame, _ = unpack(pb.ServerFrame, raw)
        if frame.HasField("accept"):
            self._accepted(frame.accept.next_step)
        elif frame.HasField("features"):
            self._answered(frame.features.step)
            self._features = frame.features.step, tuple(frame.features.tensor.shape)
        elif frame.HasField("gradient"):
            if not self._keeps_labels:  # else it answers a Backward, and the activation was answered before
                self._answered(frame.gradient.step)
        else:
            self.deafen()
            self._drop()

    def deafen(self) -> None:
        """Take nothing more of the client; what it has said already may yet be answered."""
        self._deaf = True

    def end(self) -> None:
        """The stream is over, on whichever side."""
        self._deaf = True
        while self._waiting:
            self._emit_first()
        self._drop()

    def _hear(self, raw: bytes) -> None:
        self._rules.check_size(raw)
        if self._hello is None:
            self._hello, _ = self._rules.introduction(raw)
        elif self._next_step is None:
            self._room.take(len(raw))
            self._unheard.append(raw)
        else:
            self._take(self._hello, self._next_step, raw)

    def _accepted(self, next_step: int) -> None:
        """Hear what has come before."""
        if self._hello is None or self._next_step is not None:
            return
        self._next_step = next_step
        unheard, self._unheard = self._unheard, []
        deaf, full = self._deaf, self._full
        self._deaf = self._full = False
        self._room.give_back(sum(map(len, unheard)))
        try:
            for raw in unheard:
                self.question(raw)
        finally:
            self._deaf |= deaf
            self._full |= full

    def _take(self, hello: Hello, next_step: int, raw: bytes) -> None:
        frame, data = unpack(pb.ClientFrame, raw)
        if frame.HasField("backward"):
            self._pull_back(hello, next_step, frame.backward, data)
            return
        if not frame.HasField("forward"):
            self._deaf = True  # Done, or a second Hello: the last that the server takes
            return
        activation, labels = self._rules.batch(hello, frame.forward, data)
        step = frame.forward.step
        check_step(hello, step, next_step=next_step)
        if self._in_halves and step != next_step:
            raise refusal("OUT_OF_ORDER", hello, step, f"want step {next_step}")
        self._room.take(len(raw))
        self._last = ("Forward", step)
        self._next_step = step if self._in_halves else step + 1
        observation = Observation(hello.run, hello.round, hello.client, hello.phase, step, activation, labels)
        self._waiting.append(_Waiting(observation, len(raw)))

    def _pull_back(self, hello: Hello, next_step: int, message: pb.Backward, data: memoryview) -> None:
        """The second half of a step. On a new stream the first half may have gone over an older one."""
        gradient = self._rules.gradient(hello, message, data)
        step = message.step
        check_step(hello, step, next_step=next_step)
        first = self._last == ("", -1)
        if not (first or self._last in (("Forward", step), ("Backward", step))):
            raise refusal("OUT_OF_ORDER", hello, step, "want a Forward")
        owed = self._features if step == next_step else None  # what is sent again is answered whatever its shape
        if owed is not None and owed[0] == step and owed[1] != tuple(gradient.shape):
            raise refusal("WRONG_SHAPE", hello, step, f"want the features' shape {owed[1]}")
        self._last = ("Backward", step)
        self._next_step = step + 1

    @property
    def _keeps_labels(self) -> bool:
        return self._hello is not None and self._hello.keeps_labels

    @property
    def _in_halves(self) -> bool:
        """Whether a Backward follows each Forward."""
        return self._hello is not None and self._hello.keeps_labels and self._hello.phase is Phase.TRAIN

    def _answered(self, step: int) -> None:
        """Answers come in the order of the questions."""
        while self._waiting:
            if self._waiting[0].observation.step == step:
                self._emit_first()
                return
            self._room.give_back(self._waiting.popleft().size)

    def _emit_first(self) -> None:
        observation, size = self._waiting.popleft()
        self._room.give_back(size)
        self._emit(observation)

    def _drop(self) -> None:
        self._room.give_back(sum(waiting.size for waiting in self._waiting) + sum(map(len, self._unheard)))
        self._waiting.clear()
        self._unheard.clear()
