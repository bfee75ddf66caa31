"""Flower's own simulation engine, for clients that share the actors of a Ray on this machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Queue

import psutil
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore import telemetry

from splitfed.errors import SplitfedError
from splitfed.federation.attendance import CLIENT_HINDERED, CLIENT_RAISED
from splitfed.federation.clients_grid import ClientsGrid

logger = logging.getLogger(__name__)

ACTOR = {"num_cpus": 1, "max_restarts": -1, "max_task_retries": 1}
"""What an actor takes; Flower gives it to Ray as it is. Flower goes on asking an actor that has died, so Ray is to
start it anew. The client that it played begins its task once more, which changes no result; one that costs its second
actor too is lost."""
ACTOR_NAME = "ClientApp"
"""How the names of its processes begin, behind Ray's own prefix; the system keeps fifteen characters."""
START_S = 120.0
"""How long the engine may take until it has a grid, and until it has ended once its actors were killed."""
LEAVE_S = 20.0
"""How long its actors may take to leave; they do so at their client's next step."""
REASON_LENGTH = 300


@contextmanager
def lent_grid(app: ClientApp, clients: int, *, on_leave: Callable[[], None]) -> Iterator[Grid]:
    """The grid of a simulation of so many clients, until the context ends.

    `run_simulation` is the one way into the engine that Flower documents for a process of one's own. It wants to run
    the ServerApp in a thread; here that only lends its grid, so that the server stays in the caller's thread, where
    Ctrl-C arrives.

    Args:
        app: goes to an actor with each Message.
        clients: how many nodes there are; each says its number when it is asked to join.
        on_leave: tells clients that are still at work to leave.

    Raises:
        SplitfedError: the engine does not start, or ends before its time; the latter from the grid.
    """
    engine = _Engine(app, clients)
    engine.start()
    try:
        yield _EngineGrid(engine.grid(), engine)
    finally:
        on_leave()
        engine.leave()


class _Engine(threading.Thread):
    """Runs the simulation for as long as its grid is lent."""

    def __init__(self, app: ClientApp, clients: int) -> None:
        super().__init__(name="simulation", daemon=True)
        self.failure: BaseException | None = None
        self._app, self._clients = app, clients
        self._grids: Queue[Grid | None] = Queue()
        self._over = threading.Event()

    def run(self) -> None:
        """What the thread does."""
        try:
            with _silent():
                self._simulate()
        except BaseException as error:
            self.failure = error
        finally:
            self._grids.put(None)

    def grid(self) -> Grid:
        """The grid, as soon as there is one."""
        try:
            grid = self._grids.get(timeout=START_S)
        except Empty:
            raise SplitfedError(f"Flower's simulation engine did not start within {START_S:g} s") from None
        if grid is None:
            self.check()
        assert grid is not None
        return grid

    def check(self) -> None:
        """Whether the engine is at work.

        Raises:
            SplitfedError: it has ended.
        """
        if self.failure is not None or not self.is_alive():
            cause = self.failure and (self.failure.__cause__ or self.failure)
            raise SplitfedError(f"Flower's simulation engine has ended: {cause!r:.500}. Go on with --resume")

    def leave(self) -> None:
        """End it, and wait until its actors have left."""
        self._over.set()
        self.join(LEAVE_S)
        if self.is_alive():
            logger.warning("clients did not leave within %g s, and are ended with their actors", LEAVE_S)
            _kill_actors()  # Ray must not end while the engine waits for one; started anew, they leave at once
            self.join(START_S)

    def _simulate(self) -> None:
        from flwr.simulation import run_simulation  # it takes a second to import

        app = ServerApp()

        @app.main()
        def lend(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
            self._grids.put(grid)
            self._over.wait()

        run_simulation(app, self._app, self._clients, backend_config={"client_resources": dict(ACTOR)})


class _EngineGrid(ClientsGrid):
    """The engine's grid, which notices when that has ended."""

    def __init__(self, grid: Grid, engine: _Engine) -> None:
        super().__init__(grid, ())
        self._engine = engine

    def get_node_ids(self) -> list[int]:
        self._engine.check()
        return list(self._grid.get_node_ids())

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self._engine.check()
        replies = list(self._grid.pull_messages(message_ids))
        for reply in replies:
            # those of the clients have a code of ours; whatever else there is, the engine said in a client's place
            if reply.has_error() and reply.error.code not in (CLIENT_RAISED, CLIENT_HINDERED):
                reason = " ".join(str(reply.error.reason).split())
                reply.error = Error(CLIENT_HINDERED, f"its actor was lost: {reason:.{REASON_LENGTH}}")
        return replies


def _kill_actors() -> None:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith(f"ray::{ACTOR_NAME}"):
                process.kill()


@contextmanager
def _silent() -> Iterator[None]:
    """Flower logs what its engine does and each client that fails, which is told here as a client's loss; and would
    tell its makers of every simulation."""
    log = logging.getLogger("flwr")
    level, telling = log.level, telemetry.FLWR_TELEMETRY_ENABLED
    log.setLevel(logging.CRITICAL)
    telemetry.FLWR_TELEMETRY_ENABLED = "0"
    try:
        yield
    finally:
        log.setLevel(level)
        telemetry.FLWR_TELEMETRY_ENABLED = telling
