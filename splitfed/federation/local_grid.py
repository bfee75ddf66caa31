"""Flower's Grid in one process: each client is a thread that runs the same ClientApp as a deployed SuperNode.

Only Flower's Messages (weights and settings, once per round and client) take this way; activations and gradients
go through the split service's sockets all the same.
"""

from __future__ import annotations

import itertools
import threading
import traceback
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from splitfed.errors import LinkLost, SplitfedError, out_of_memory
from splitfed.federation.attendance import CLIENT_HINDERED, CLIENT_RAISED

HINDRANCES = (LinkLost, OSError)
"""What a client may meet once and not again, whatever its settings are; as it may run out of memory."""


class LocalGrid(Grid):
    """Runs `app` once per Message in a pool of threads, one per client; a context manager.

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
        self._at_work = {node: threading.Lock() for node in self._contexts}
        self._pool = ThreadPoolExecutor(max_workers=clients, thread_name_prefix="client")
        self._pending: dict[str, Future[Message]] = {}
        self._ids = itertools.count(1)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 0, 0

    def __enter__(self) -> LocalGrid:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

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
            self._pending[message_id] = self._pool.submit(self._answer, message)
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        done = [i for i in message_ids if i in self._pending and self._pending[i].done()]
        return [self._pending.pop(message_id).result() for message_id in done]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Replies in the order of the clients, so that an average sums in the same order every time."""
        ids = self.push_messages(messages)
        wait([self._pending[message_id] for message_id in ids], timeout=timeout)
        return sorted(self.pull_messages(ids), key=lambda reply: reply.metadata.src_node_id)

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        at_work = self._at_work[node]
        if not at_work.acquire(blocking=False):  # two rounds at a time would train the same front
            return Message(Error(CLIENT_HINDERED, "still at work on what it was asked before"), reply_to=message)
        try:
            return self._app(message, self._contexts[node])
        except Exception as error:
            hindered = isinstance(error, HINDRANCES) or out_of_memory(error)
            return Message(Error(CLIENT_HINDERED if hindered else CLIENT_RAISED, _reason(error)), reply_to=message)
        finally:
            at_work.release()


def _reason(error: Exception) -> str:
    """What a client says of its error; of one that is not ours also where it was raised."""
    said = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, SplitfedError):
        return said
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{said} ({Path(place.filename).name} line {place.lineno})"
