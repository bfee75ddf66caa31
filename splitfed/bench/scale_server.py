"""The server of `bench scale`: a process of its own, so that its cost can be told from that of its clients."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import psutil
import torch

from splitfed.config.components import Component
from splitfed.config.load import validate
from splitfed.config.scenario import Cell
from splitfed.federation.backs import BackHost
from splitfed.federation.job import Job
from splitfed.federation.server_app import SPARE_STREAMS
from splitfed.runners.child import safe_path
from splitfed.types import ImageShape, Phase
from splitfed.wire.service import SplitServer

BATCH, WIDTH, CLASSES = 64, 500, 6
SECRET = "scale"


def job_of(clients: int) -> Job:
    """What the server of so many clients serves: the back of the main job's network, undefended."""
    table = {
        "name": "scale",
        "data": {"name": "digits", "train": BATCH * clients, "aux": 20, "test": clients},
        "model": {"width": WIDTH},
        "federation": {"clients": clients, "rounds": 1, "batch_size": BATCH},
        "defense": [{"name": "none"}],
        "attack": [{"name": "ridge"}],
    }
    cell = Cell(name="none", defense=Component(name="none"), seed=0)
    return Job("scale", validate(table, source="scale"), cell, ImageShape(1, 28, 28), CLASSES, secret=SECRET)


class Usage(NamedTuple):
    """What the server's process has taken so far.

    Attributes:
        resident_bytes: of memory, now.
        cpu_s: seconds on a core, in all.
    """

    resident_bytes: int
    cpu_s: float


class Server:
    """The handle of a running server."""

    def __init__(self, pipe: Connection, address: str) -> None:
        self.address = address
        self._pipe = pipe

    def begin(self, number: int) -> None:
        """Serve this round of training."""
        self._ask("begin", number)

    def average(self, clients: int) -> None:
        """Average the backs of the first so many clients, each of which sent as many images."""
        self._ask("average", clients)

    def usage(self) -> Usage:
        """What it has taken so far."""
        return Usage(*self._ask("usage"))

    def _ask(self, *question: Any) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()


@contextmanager
def serving(clients: int) -> Iterator[Server]:
    """A server for so many clients, in a process of its own until the context ends."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs, clients), daemon=True)
    with safe_path():
        process.start()
    theirs.close()
    try:
        yield Server(ours, ours.recv())
    finally:
        with suppress(OSError):  # it may have ended by itself
            ours.send(("end",))
        process.join()


def _serve(pipe: Connection, clients: int) -> None:
    """What the new process does."""
    torch.set_num_threads(1)
    job = job_of(clients)
    host = BackHost(
        back=job.back(),
        optimizer=job.optimizer,
        defense=job.defense(),
        noise=job.back_noise,
        run=job.run,
        clients=clients,
        activation_shape=(job.released,),
        classes=job.classes,
    )
    with SplitServer(host, secret=job.secret, max_streams=clients + SPARE_STREAMS) as server:
        pipe.send(server.address)
        while (question := pipe.recv())[0] != "end":
            pipe.send(_answer(host, *question))


def _answer(host: BackHost, what: str, number: int = 0) -> Usage | None:
    if what == "begin":
        host.begin(number, Phase.TRAIN)
    elif what == "average":
        host.average(dict.fromkeys(range(number), 1))
    else:
        return Usage(psutil.Process().memory_info().rss, time.process_time())
    return None
