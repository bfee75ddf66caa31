"""A cell whose clients are threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from flwr.app import Context, RecordDict

from splitfed.federation.client import ClientImages
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.federation.server_app import Federation, build_server_app
from splitfed.runners.local_grid import LocalGrid
from splitfed.runners.seal import seal_of
from splitfed.runners.watched import TrainingWatcher


def train(job: Job, clients: Sequence[ClientImages], watcher: TrainingWatcher, *, checkpoint: Path) -> FederationResult:
    """Train one job to its end, or go on from its checkpoint.

    Args:
        job: the cell, with the server's secret.
        clients: what each client holds, by its number.
        watcher: told of how it goes.
        checkpoint: what is kept after each round.

    Raises:
        TrainingFailed: it cannot be trained with these settings.
        SplitfedError: it could not be trained this time.
    """
    seal = seal_of(job)
    credentials = None if seal is None else seal.server.server_credentials()
    federation = Federation(job, watcher, checkpoint=checkpoint, credentials=credentials)
    stopped = threading.Event()
    app = build_client_app(
        lambda _, number: clients[number],
        credentials=None if seal is None else seal.of_client,
        on_step=watcher.stepped,
        stopped=stopped.is_set,
    )
    results: list[FederationResult] = []
    with LocalGrid(app, len(clients)) as grid:
        try:
            build_server_app(federation, results)(grid, _flower_context())
        finally:
            stopped.set()  # so that clients that are still at work leave, and the grid can close
    return results[0]


def _flower_context() -> Context:
    return Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
