"""A cell whose clients, hundreds of them perhaps, take turns in the actors of Flower's simulation engine.

Ray starts on this machine for as long as the cell trains. A Message goes to whichever actor is free, with the front as
on any other grid; that actor takes the images of the one client it plays from Ray's store. Activations and gradients
go over the split service's sockets. No result depends on which actor plays whom, or on what it still knows of them.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from splitfed.errors import LinkLost, UserError
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.federation.roster import JoinedNodes
from splitfed.federation.server_app import Federation, build_server_app
from splitfed.runners import step_reports
from splitfed.runners.answer import answer
from splitfed.runners.flower_engine import lent_grid
from splitfed.runners.ray_package import load_ray, start
from splitfed.runners.seal import seal_of
from splitfed.runners.watched import TrainingWatcher

logger = logging.getLogger(__name__)

JOIN_S = 180.0
"""How long all clients may take to say their number; the actors have to start first."""
KEPT_CLIENTS = 8
"""How many clients an actor remembers, for what is expensive to make again: generated images, outputs of the stem."""
_STOPPED = "stopped"
"""The file by which clients are told to leave."""


def train(job: Job, clients: Sequence[ClientImages], watcher: TrainingWatcher, *, checkpoint: Path) -> FederationResult:
    """Train one job to its end, or go on from its checkpoint; see `local_clients.train`.

    Raises:
        UserError: Ray is not installed, or cannot be started.
        TrainingFailed: it cannot be trained with these settings.
        SplitfedError: it could not be trained this time.
    """
    roster = JoinedNodes(len(clients), patience_s=JOIN_S, notice=logger.warning)
    seal = seal_of(job)
    credentials = None if seal is None else seal.server.server_credentials()
    federation = Federation(job, watcher, checkpoint=checkpoint, roster=roster, credentials=credentials)
    results: list[FederationResult] = []
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="splitfed-", ignore_cleanup_errors=True)))
        ray = held.enter_context(_started_ray(folder))
        held.enter_context(step_reports.heard(folder, watcher.stepped))
        kept = [ray.put(images) for images in clients]  # for as long as there is a reference to each
        app = cast(ClientApp, PlayedClients(str(folder), ray.put(kept), seal and ray.put(seal)))
        grid = held.enter_context(lent_grid(app, len(clients), on_leave=(folder / _STOPPED).touch))
        build_server_app(federation, results)(grid, _flower_context())
    return results[0]


def check(notice: Callable[[str], None]) -> None:
    """Whether clients can run here.

    Args:
        notice: gets a sentence for the user.

    Raises:
        UserError: Ray is not installed.
    """
    load_ray()
    if cluster := os.environ.get("RAY_ADDRESS"):
        notice(
            f"clients run on this machine, where the server is; the Ray cluster at {cluster} (RAY_ADDRESS) takes "
            "cells, from --jobs 2 on"
        )


@contextmanager
def _started_ray(folder: Path) -> Iterator[Any]:
    """Ray on this machine alone, whatever RAY_ADDRESS names: the split service listens on the loopback interface.

    What it writes, images that find no room in memory too, goes into the folder.
    """
    ray = load_ray()
    if ray.is_initialized():
        raise UserError(
            "this process uses Ray already, and Flower's simulation engine would end that: call ray.shutdown() first"
        )
    before = signal.getsignal(signal.SIGTERM)
    try:
        start(ray, logging_level=logging.ERROR, _temp_dir=str(folder))
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own would leave without a word
    try:
        yield ray
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class PlayedClients:
    """What goes to an actor in place of a ClientApp: where the images are, not the images.

    Attributes:
        folder: where clients report their steps, and are told to leave.
        shares: a reference to the references to what each client holds, by its number.
        seal: a reference to what puts their streams under TLS, where the scenario asks for it.
    """

    folder: str
    shares: Any
    seal: Any = None

    def __call__(self, message: Message, context: Context) -> Message:
        """Play the client that this Message is for."""
        return _player(self, int(context.node_config["partition-id"]))(message, context)


@lru_cache(maxsize=KEPT_CLIENTS)
def _player(clients: PlayedClients, number: int) -> _Player:
    """In the actor's process: one client of those that it has played of late."""
    torch.set_num_threads(1)  # as in any other runner, or sums would round otherwise
    return _Player(clients, number)


class _Player:
    """One client, in an actor's process."""

    def __init__(self, clients: PlayedClients, number: int) -> None:
        self._shares, self._number = clients.shares, number
        self._folder = Path(clients.folder)
        self._sent_before = self._sent_bytes = 0
        stopped = (self._folder / _STOPPED).exists
        seal = clients.seal and load_ray().get(clients.seal)
        self._app = build_client_app(
            self._images, credentials=seal and seal.of_client, on_step=self._stepped, stopped=stopped
        )

    def __call__(self, message: Message, context: Context) -> Message:
        self._sent_before = self._sent_bytes
        return answer(self._app, message, context)

    def _images(self, job: Job, number: int) -> ClientImages:  # noqa: ARG002 - the job is the one of this Ray
        ray = load_ray()
        try:
            images: ClientImages = ray.get(ray.get(self._shares)[number])
        except ray.exceptions.RayError as error:
            raise LinkLost(f"client-{number}: its images are not to be had from Ray's store: {error}") from error
        return images

    def _stepped(self, report: StepReport) -> None:
        """Others may have played this client's earlier rounds: what is told is of this one alone."""
        self._sent_bytes = report.sent_bytes
        of_round = report.sent_bytes - self._sent_before
        step_reports.send(self._folder, StepReport(**{**vars(report), "sent_bytes": of_round}))


def _flower_context() -> Context:
    return Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
