"""Flower's Grid in one process: each client is a thread that runs the same ClientApp as a deployed SuperNode.

Only Flower's Messages (weights and settings, once per round and client) take this way; activations and gradients
go through the split service's sockets all the same.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from types import TracebackType

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from splitfed.runners.answer import answer

logger = logging.getLogger(__name__)

LEAVE_S = 10.0
"""How long the grid waits, when it closes, for clients that were given up; they leave at their next step."""


class LocalGrid(Grid):
    """Runs `app` once per Message, each in a thread of its own; a context manager.

    A client that has not answered in time is given up: its thread goes on until the client notices, and neither its
    next Message nor anybody else waits for it.

    It touches two names that Flower does not document: `TaskIdentity`, which a Message asks for its run, and the
    message id, which a deployed SuperLink would set.
    """

    def __init__(self, app: ClientApp, clients: int, run_id: int = 1) -> None:
        self._app = app
        self._run = Run.create_empty(run_id=run_id)
        self._contexts = {
            client + 1: Context(
                run_id=run_id,
                node_id=client + 1,
                node_config={"partition-id": client, "num-partitions": clients},
                state=RecordDict(),
                run_config={},
            )
            for client in range(clients)
        }
        self._threads: list[threading.Thread] = []
        self._pending: dict[str, Future[Message]] = {}
        self._ids = itertools.count(1)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 0, 0

    def __enter__(self) -> LocalGrid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        deadline = time.monotonic() + LEAVE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if late := sorted({thread.name for thread in self._threads if thread.is_alive()}):
            logger.warning("%s did not leave within %g s, and are left behind", ", ".join(late), LEAVE_S)

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            message_id = str(next(self._ids))
            message.metadata.__dict__["_message_id"] = message_id
            message.content = _as_sent(message.content)
            self._pending[message_id] = self._start(message)
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        done = [i for i in message_ids if i in self._pending and self._pending[i].done()]
        return [self._pending.pop(message_id).result() for message_id in done]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Replies in the order of the clients, so that an average sums in the same order every time.

        What comes after the timeout is dropped.
        """
        ids = self.push_messages(messages)
        wait([self._pending[message_id] for message_id in ids], timeout=timeout)
        replies = self.pull_messages(ids)
        for message_id in ids:
            self._pending.pop(message_id, None)
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)

    def _start(self, message: Message) -> Future[Message]:
        future: Future[Message] = Future()
        thread = threading.Thread(
            target=lambda: future.set_result(self._answer(message)),
            name=f"client-{message.metadata.dst_node_id - 1}",
            daemon=True,
        )
        self._threads = [other for other in self._threads if other.is_alive()] + [thread]
        thread.start()
        return future

    def _answer(self, message: Message) -> Message:
        return answer(self._app, message, self._contexts[message.metadata.dst_node_id])


def _as_sent(content: RecordDict) -> RecordDict:
    """What a network would deliver: settings as they are now, whatever the server writes into its own later."""
    copied = dict(content)
    copied.update({name: ConfigRecord(dict(settings)) for name, settings in content.config_records.items()})
    return RecordDict(copied)
