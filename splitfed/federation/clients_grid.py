"""A grid with some of its nodes left out, that is soon told of replies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

POLL_S, LONGEST_POLL_S = 0.05, 0.3
"""Between two looks for replies, the longer the longer there was none; Flower's own grids take three seconds."""


class ClientsGrid(Grid):
    """Another grid's `nodes` and no others."""

    def __init__(self, grid: Grid, nodes: Sequence[int]) -> None:
        self._grid = grid
        self._nodes = list(nodes)

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
        what a node says in another's place is left out.
        """
        asked = list(messages)
        ids = list(self._grid.push_messages(asked))
        waiting = {i: message.metadata.dst_node_id for i, message in zip(ids, asked, strict=False) if i}
        deadline = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        pause_s = POLL_S
        while waiting and (deadline is None or time.monotonic() < deadline):
            for reply in self._grid.pull_messages(list(waiting)):
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if reply.has_error():
                    reply.metadata.__dict__["_src_node_id"] = node
                if reply.metadata.src_node_id == node:
                    replies.append(reply)
                    pause_s = POLL_S
            if waiting:
                time.sleep(pause_s)
                pause_s = min(1.5 * pause_s, LONGEST_POLL_S)
        return replies
