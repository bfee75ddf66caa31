"""Asking a node again for an answer that did not arrive.

Flower's SuperLink hands out each Message once. One that is killed in the act, and started again on its database, has
handed it out, and nobody has it: a question that its node never got, or an answer that the server never got. So who
waits asks after the answer now and then. A node keeps its last answers, and says whether it has this one, is at it, or
has never heard the question; that is then put to it once more, and a node answers each question once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Literal, NamedTuple

from flwr.app import ConfigRecord, Error, Message, RecordDict

AGAIN = "query.again"
"""The type of the Message that asks for an answer again."""
_RECORD, _QUESTION, _STATE, _CODE, _REASON = "again", "question", "state", "code", "reason"
_REPEATS = "repeats "
"""What the group of a Message that repeats another begins with; then comes the number of that."""
KEPT = 2
"""LastAnswers of each type that a node keeps: nobody asks a node for two of one type at a time."""

State = Literal["unknown", "working", "answered", "failed"]


class Recalled(NamedTuple):
    """What a node says of a question: how it stands, and the answer where there is one."""

    state: State
    answer: Message | None = None


def asking_after(question: str, node: int) -> Message:
    """What asks this node for its answer to the question of this number."""
    return Message(RecordDict({_RECORD: ConfigRecord({_QUESTION: question})}), node, AGAIN)


def repeated(message: Message, question: str) -> Message:
    """The same question once more; `question` is the number that it had first."""
    about = message.metadata
    group = f"{_REPEATS}{question}"
    return Message(message.content, about.dst_node_id, about.message_type, ttl=about.ttl, group_id=group)


def told(reply: Message, question: Message) -> Recalled | None:
    """What a node says of this question; None where it says nothing that fits, as one that keeps no answers."""
    said = None if reply.has_error() else reply.content.config_records.get(_RECORD)
    if said is None:
        return None
    state = said.get(_STATE)
    if state == "answered":
        records = {name: record for name, record in reply.content.items() if name != _RECORD}
        return Recalled("answered", Message(RecordDict(records), reply_to=question))
    if state == "failed":
        code, reason = said.get(_CODE), said.get(_REASON)
        return Recalled("failed", Message(Error(int(str(code)), str(reason)), reply_to=question))
    return Recalled(state) if state in ("unknown", "working") else None  # type: ignore[arg-type]


class LastAnswers:
    """The questions that a node has heard, with its answers: the last ones of each type."""

    def __init__(self) -> None:
        self._heard: dict[str, OrderedDict[str, Message | None]] = {}
        self._lock = threading.Lock()

    def begin(self, question: Message) -> bool:
        """Whether this question is new, and the node is to answer it."""
        number, kind = _number_of(question), question.metadata.message_type
        with self._lock:
            heard = self._heard.setdefault(kind, OrderedDict())
            if number in heard:
                return False
            heard[number] = None
            while len(heard) > KEPT:
                heard.popitem(last=False)
            return True

    def keep(self, question: Message, answer: Message) -> None:
        """This is the answer."""
        number, kind = _number_of(question), question.metadata.message_type
        with self._lock:
            if number in self._heard[kind]:
                self._heard[kind][number] = answer

    def about(self, asked: Message) -> Message:
        """The reply to who asks after an answer."""
        record = asked.content.config_records.get(_RECORD, ConfigRecord())
        found, answer = self._find(str(record.get(_QUESTION, "")))
        if answer is None:
            said = ConfigRecord({_STATE: "working" if found else "unknown"})
            return Message(RecordDict({_RECORD: said}), reply_to=asked)
        if answer.has_error():
            said = ConfigRecord({_STATE: "failed", _CODE: answer.error.code, _REASON: answer.error.reason or ""})
            return Message(RecordDict({_RECORD: said}), reply_to=asked)
        content = RecordDict({**answer.content, _RECORD: ConfigRecord({_STATE: "answered"})})
        return Message(content, reply_to=asked)

    def _find(self, number: str) -> tuple[bool, Message | None]:
        with self._lock:
            for heard in self._heard.values():
                if number in heard:
                    return True, heard[number]
        return False, None


def _number_of(question: Message) -> str:
    """Its own number, or that of the one that it repeats."""
    group = question.metadata.group_id
    return group.removeprefix(_REPEATS) if group.startswith(_REPEATS) else question.metadata.message_id
