"""Questions whose Messages are lost on the way are answered all the same, once."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from splitfed.federation import clients_grid
from splitfed.federation.again import AGAIN, LastAnswers
from splitfed.federation.clients_grid import ClientsGrid
from splitfed.runners.local_grid import LocalGrid

PATIENCE_S = 20


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_grid, "AGAIN_S", 0.2)


class Remembering(ClientApp):
    """LastAnswers with a count, each question once, as a `FlowerNode` does."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.answered = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._answers = LastAnswers()
        self._fails = fails

    def __call__(self, message: Message, context: Context) -> Message:  # noqa: ARG002 - Flower's signature
        if message.metadata.message_type == AGAIN:
            return self._answers.about(message)
        if not self._answers.begin(message):
            raise RuntimeError("a repeated question is not answered anew")
        self.may_answer.wait(PATIENCE_S)
        self.answered += 1
        reply = self._reply(message)
        self._answers.keep(message, reply)
        return reply

    def _reply(self, message: Message) -> Message:
        if self._fails:
            return Message(Error(2, "it raised"), reply_to=message)
        return Message(RecordDict({"count": ConfigRecord({"is": self.answered})}), reply_to=message)


class Forgetful(ClientApp):
    """One that keeps no answers, as the app in Flower's own SuperNode."""

    def __call__(self, message: Message, context: Context) -> Message:  # noqa: ARG002
        if message.metadata.message_type == AGAIN:
            raise RuntimeError("no such action")
        return Message(RecordDict({}), reply_to=message)


class Losing(LocalGrid):
    """Loses the first question or its reply, or a part of that; a node that is gone gets nothing."""

    def __init__(self, app: ClientApp, loses: str) -> None:
        super().__init__(app, clients=1)
        self._loses = loses
        self._first = ""
        self.pushed: list[str] = []

    def __enter__(self) -> Losing:
        return self

    def push_messages(self, messages: Iterable[Message]) -> list[Any]:
        asked = list(messages)
        if self._loses == "node" and asked[0].metadata.message_type == AGAIN:
            return [None]
        if self._loses == "question" and not self.pushed:
            asked[0].metadata.__dict__["_message_id"] = "lost"
            self.pushed.append("lost")
            return ["lost"]
        numbers = list(super().push_messages(asked))
        self._first = self._first or numbers[0]
        self.pushed += numbers
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = list(super().pull_messages([number for number in message_ids if number != "lost"]))
        return [self._handed_out(reply) for reply in replies if self._arrives(reply)]

    def _arrives(self, reply: Message) -> bool:
        return not (self._loses == "reply" and reply.metadata.reply_to_message_id == self._first)

    def _handed_out(self, reply: Message) -> Message:
        if self._loses not in ("part", "node") or reply.metadata.reply_to_message_id != self._first:
            return reply
        error = Message(Error(ErrorCode.MESSAGE_UNAVAILABLE, "a part is missing"), reply_to=reply)
        error.metadata.__dict__["_reply_to_message_id"] = self._first
        return error


def ask(grid: LocalGrid, timeout: float = PATIENCE_S) -> list[Message]:
    question = Message(RecordDict({"config": ConfigRecord({"round": 1})}), 1, "query.count")
    return ClientsGrid(grid, [1]).send_and_receive([question], timeout=timeout)


@pytest.fixture
def app() -> Remembering:
    return Remembering()


@pytest.mark.parametrize("lost", ["nothing", "question", "reply", "part"])
def test_what_is_lost_is_asked_again_and_answered_once(app: Remembering, lost: str) -> None:
    with Losing(app, lost) as grid:
        (reply,) = ask(grid)
    assert not reply.has_error()
    assert reply.content.config_records["count"]["is"] == 1
    assert (reply.metadata.src_node_id, app.answered) == (1, 1)


def test_an_error_is_told_again_as_it_was() -> None:
    with Losing(Remembering(fails=True), "reply") as grid:
        (reply,) = ask(grid)
    assert (reply.error.code, reply.error.reason) == (2, "it raised")


def test_a_node_that_is_at_it_is_left_to_it(app: Remembering) -> None:
    app.may_answer.clear()
    threading.Timer(1.0, app.may_answer.set).start()
    with Losing(app, "nothing") as grid:
        (reply,) = ask(grid)
        assert len(grid.pushed) > 2  # it was asked how it stands, more than once
    assert (reply.has_error(), app.answered) == (False, 1)


def test_of_a_node_that_keeps_no_answers_the_loss_is_told() -> None:
    with Losing(Forgetful(), "part") as grid:
        (reply,) = ask(grid)
        assert len(grid.pushed) == 2
        assert not ask(grid)[0].has_error()
        assert len(grid.pushed) == 3  # and it is not asked how it stands any more
    assert (reply.error.reason, reply.metadata.src_node_id) == ("a part is missing", 1)


def test_of_a_node_that_is_gone_the_loss_is_told(app: Remembering) -> None:
    with Losing(app, "node") as grid:
        (reply,) = ask(grid)
    assert (reply.error.reason, reply.metadata.src_node_id) == ("a part is missing", 1)


def test_a_node_keeps_the_last_answers_of_each_type_alone() -> None:
    answers = LastAnswers()
    questions = []
    for number in range(5):
        question = Message(RecordDict({}), 1, "query.count")
        question.metadata.__dict__["_message_id"] = str(number)
        questions.append(question)
        assert answers.begin(question)
        answers.keep(question, Message(RecordDict({"n": ConfigRecord({"is": number})}), reply_to=question))
    assert answers.begin(questions[0])  # forgotten: it is new again
    assert not answers.begin(questions[4])
