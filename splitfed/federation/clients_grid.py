"""A grid with some of its nodes left out, that is soon told of replies, and asks after those that do not come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.run import Run

from splitfed.federation.again import asking_after, repeated, told

POLL_S, LONGEST_POLL_S = 0.05, 0.3
"""Between two looks for replies, the longer the longer there was none; Flower's own grids take three seconds."""
AGAIN_S = 10.0
"""How long nothing is heard of a question until its node is asked how it stands."""
LOST = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
"""What the grid says of a reply that did not arrive whole, and of one of a node that is gone."""
_DEAF: WeakKeyDictionary[Grid, set[int]] = WeakKeyDictionary()
"""By grid, the nodes that do not say how a question stands, as Flower's own, which starts a process to say nothing."""
PUSHES = 3
"""How often Messages are handed to the grid that did not arrive whole."""


@dataclass
class _Question:
    """One Message, and all that was sent because of it.

    Attributes:
        message: the question.
        number: its own, as its node knows it.
        sent: the numbers under which it was sent.
        asked_after: the number of the Message that last asked how it stands; empty where none is on its way.
        heard_at: when it was last sent, or something was heard of it.
        deaf: whether its node does not say how it stands, as it keeps no answers, or is gone.
        lost: what the grid says of a reply that was lost.
        answer: its reply.
    """

    message: Message
    number: str
    sent: set[str] = field(default_factory=set)
    asked_after: str = ""
    heard_at: float = field(default_factory=time.monotonic)
    deaf: bool = False
    lost: Message | None = None
    answer: Message | None = None

    @property
    def node(self) -> int:
        """Whom it is put to."""
        return self.message.metadata.dst_node_id


class ClientsGrid(Grid):
    """Another grid's `nodes` and no others."""

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        self._grid = grid
        self._nodes = list(nodes)
        self._deaf = _DEAF.setdefault(grid, set())

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return self._grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> list[int]:
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Replies as they come; those that come after the timeout are dropped.

        An error that the grid itself reports in a node's place, as where that is gone, is said to be from that node;
        what a node says in another's place is left out. A node of which nothing is heard is asked how it stands.
        """
        asked = list(messages)
        numbers = self._pushed(asked)
        waiting = [
            _Question(one, number, {number}, deaf=one.metadata.dst_node_id in self._deaf)
            for one, number in zip(asked, numbers, strict=False)
            if number
        ]
        deadline = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        pause_s = POLL_S
        while waiting and (deadline is None or time.monotonic() < deadline):
            answered = self._answered(waiting)
            for question, reply in answered:
                waiting.remove(question)
                replies += [] if reply is None else [reply]
            self._ask_after(waiting)
            if waiting:
                pause_s = POLL_S if answered else min(1.5 * pause_s, LONGEST_POLL_S)
                time.sleep(pause_s)
        return replies

    def _answered(self, waiting: Sequence[_Question]) -> list[tuple[_Question, Message | None]]:
        """The questions that need no more waiting for, each with its reply; None for one from another node."""
        by_number = {number: question for question in waiting for number in question.sent}
        about = {question.asked_after: question for question in waiting if question.asked_after}
        answered: list[tuple[_Question, Message | None]] = []
        for reply in self._grid.pull_messages([*by_number, *about]):
            number = reply.metadata.reply_to_message_id
            if number in about:
                self._take_standing(about[number], reply)
            elif number in by_number:
                self._take_reply(by_number[number], reply)
        for question in waiting:
            found = question.answer or (question.lost if question.deaf else None)
            if found is not None:
                own = found.metadata.src_node_id == question.node
                answered.append((question, found if own else None))
        return answered

    def _take_reply(self, question: _Question, reply: Message) -> None:
        if reply.has_error():
            reply.metadata.__dict__["_src_node_id"] = question.node
        if reply.has_error() and reply.error.code in LOST:  # its node may still have it
            question.sent.discard(reply.metadata.reply_to_message_id)
            question.lost, question.heard_at = reply, 0.0
        else:
            question.answer = reply

    def _take_standing(self, question: _Question, reply: Message) -> None:
        question.asked_after = ""
        question.heard_at = time.monotonic()
        standing = told(reply, question.message) if reply.metadata.src_node_id == question.node else None
        if standing is None:
            question.deaf = True
            self._deaf.add(question.node)
        elif standing.answer is not None:
            question.answer = standing.answer
        elif standing.state == "unknown":
            question.sent.update(filter(None, self._pushed([repeated(question.message, question.number)])))

    def _ask_after(self, waiting: Iterable[_Question]) -> None:
        """Ask how each question stands of which nothing was heard for long."""
        now = time.monotonic()
        for question in waiting:
            if not question.deaf and now - question.heard_at > AGAIN_S:
                (number,) = self._pushed([asking_after(question.number, question.node)])
                question.asked_after, question.heard_at, question.deaf = number or "", now, not number

    def _pushed(self, messages: list[Message]) -> list[str | None]:
        """The numbers of these Messages, on their way; None for one whose node is gone.

        A SuperLink that is killed in between knows of a part that it has it, and refuses it when it is sent again; sent
        as a whole it is taken, and is there once.
        """
        for _ in range(PUSHES - 1):
            with suppress(ObjectPushError):
                return list(self._grid.push_messages(messages))
        return list(self._grid.push_messages(messages))
