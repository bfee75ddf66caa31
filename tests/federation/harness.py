"""Trains a job in one process, over whatever wire a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Context, RecordDict
from torch import Tensor

from splitfed.federation.backs import BackHost, PhaseScore
from splitfed.federation.client import ClientImages, Connect, StepReport
from splitfed.federation.client_app import build_client_app, connect_over_grpc
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.federation.server_app import Federation, build_server_app
from splitfed.models.front import Front
from splitfed.runners.local_grid import LocalGrid
from splitfed.wire.link import DirectLink, Link
from splitfed.wire.session import Hello, SessionHost, StepResult
from splitfed.wire.traffic import ServerTraffic

Route = Callable[[str], list[str]]
BeforeStep = Callable[[Hello, int], None]
"""Called with each step of each stream before it is sent; what it raises, the client raises."""


@dataclass
class Recorder:
    """A watcher that writes down what it is told."""

    route_to: Route = lambda address: [address]
    fronts: list[int] = field(default_factory=list)
    lost: list[tuple[int, int, str]] = field(default_factory=list)
    rounds: list[tuple[int, float, float]] = field(default_factory=list)
    preparations: list[tuple[int, int]] = field(default_factory=list)
    on_round: Callable[[int], None] = lambda _: None
    addresses: list[str] = field(default_factory=list)

    def hosted(self, host: SessionHost) -> SessionHost:
        return host

    def serving(self, server_address: str, traffic: ServerTraffic) -> None:  # noqa: ARG002
        self.addresses = self.route_to(server_address)

    def routes(self) -> list[str]:
        return self.addresses

    def prepared(self, done: int, total: int) -> None:
        self.preparations.append((done, total))

    def front_sent(self, round_number: int, front: Front) -> None:  # noqa: ARG002
        self.fronts.append(round_number)

    def client_lost(self, round_number: int, client: int, reason: str) -> None:
        self.lost.append((round_number, client, reason))

    def round_finished(self, round_number: int, train: PhaseScore, test: PhaseScore) -> None:
        self.rounds.append((round_number, train.loss, test.accuracy))
        self.on_round(round_number)


def train(
    job: Job,
    shares: Sequence[ClientImages],
    *,
    watcher: Recorder | None = None,
    connect: Connect | None = None,
    direct: bool = False,
    link: Callable[[BackHost, Hello], Link] = DirectLink,
    checkpoint: Path | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    before_step: BeforeStep | None = None,
) -> FederationResult:
    """The result of a whole federation; ``direct`` leaves out the wire, and has a ``link`` in its place."""
    federation = Federation(job, watcher or Recorder(), checkpoint=checkpoint)
    if direct:

        def connect(addresses: Sequence[str], hello: Hello) -> AbstractContextManager[Link]:  # noqa: ARG001
            return link(federation.host, hello)

    if before_step is not None:
        connect = _stopping_at(before_step, connect or connect_over_grpc(job))
    app = build_client_app(lambda _, number: shares[number], connect=connect, on_step=on_step)
    results: list[FederationResult] = []
    with LocalGrid(app, job.scenario.federation.clients) as grid:
        context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
        build_server_app(federation, results)(grid, context)
    return results[0]


def _stopping_at(before_step: BeforeStep, connect: Connect) -> Connect:
    @contextmanager
    def connected(addresses: Sequence[str], hello: Hello) -> Iterator[Link]:
        with connect(addresses, hello) as link:
            with_labels, without = link.forward, link.features

            def forward(step: int, activation: Tensor, labels: Tensor | None) -> StepResult:
                before_step(hello, step)
                return with_labels(step, activation, labels)

            def features(step: int, activation: Tensor) -> Tensor:
                before_step(hello, step)
                return without(step, activation)

            link.forward, link.features = forward, features  # type: ignore[method-assign]
            yield link

    return connected
