"""A client that is a process of its own for as long as it takes to be killed, or stopped for good."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

import psutil
from flwr.app import Message, RecordDict
from torch import Tensor

from splitfed.bench.faults import child, network
from splitfed.bench.faults.sabotage import Sabotage
from splitfed.bench.faults.script import Fault
from splitfed.federation.client import ClientImages
from splitfed.federation.client_app import build_client_app
from splitfed.runners.local_grid import LocalGrid
from splitfed.wire.link import GrpcLink
from splitfed.wire.session import Hello, StepResult

POLL_S = 0.02
SIGNALS = {
    "client is killed before": signal.SIGKILL,
    "client is killed after": signal.SIGKILL,
    "client is stopped": signal.SIGSTOP,
}
"""What a client does to itself; the server's side kills one while it is at work for it."""


class _DoomedLink(GrpcLink):
    """A link at whose step the process gets a signal."""

    def __init__(self, addresses: Sequence[str], hello: Hello, fault: Fault) -> None:
        self._fault = fault
        super().__init__(addresses, hello, deadline_s=network.STREAM_DEADLINE_S)

    def forward(self, step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
        self._signal(step, after=False)
        result = super().forward(step, activation, labels)
        self._signal(step, after=True)
        return result

    def done(self, steps: int, examples: int) -> None:
        self._signal(steps, after=False)
        super().done(steps, examples)
        self._signal(steps, after=True)

    def _signal(self, step: int, *, after: bool) -> None:
        name = self._fault.name
        if step == self._fault.step and name in SIGNALS and after is name.endswith("after"):
            os.kill(os.getpid(), SIGNALS[name])


def answer(message: Message, fault: Fault, sabotage: Sabotage, images: ClientImages, ways: Sequence[str]) -> Message:
    """What comes of a message to a client that meets this fault.

    Raises:
        ConnectionError: it has ended.
    """
    content, node = message.content, message.metadata.dst_node_id
    work = (message.metadata.message_type, content, node, images, list(ways), fault)
    process, pipe = child.start(_work, *work)
    assert process.pid is not None
    sabotage.pids[fault.client] = process.pid
    try:
        with pipe, suppress(EOFError, OSError):
            while not pipe.poll(POLL_S):
                if fault.kind.freezes and psutil.Process(process.pid).status() == psutil.STATUS_STOPPED:
                    sabotage.has_struck(fault)
                    sabotage.hold(fault)
                    break
            else:
                return Message(pipe.recv(), reply_to=message)
        if not fault.kind.freezes:
            process.join(child.END_S)
    finally:
        code = child.end(process)
    if code == -signal.SIGKILL and fault.name in SIGNALS:
        sabotage.has_struck(fault)
    raise ConnectionError(f"the process of client {fault.client} has ended")


def _work(
    pipe: Connection,
    message_type: str,
    content: RecordDict,
    node: int,
    images: ClientImages,
    ways: Sequence[str],
    fault: Fault,
) -> None:
    app = build_client_app(lambda *_: images, connect=lambda _, hello: _DoomedLink(ways, hello, fault))
    with LocalGrid(app, node) as grid:
        (reply,) = grid.send_and_receive([Message(content, node, message_type)])
    if not reply.has_error():
        pipe.send(reply.content)
