"""SplitFed v2: one back, which learns from the steps of all clients one by one, as one network would in that order."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from splitfed.errors import Refused
from splitfed.federation.backs import BackHost
from splitfed.federation.client import ClientImages, StepReport
from splitfed.federation.job import Job
from splitfed.federation.order import training_batches
from splitfed.federation.server_app import Federation
from splitfed.federation.shared_back import SharedSession
from splitfed.metrics.fingerprint import fingerprint
from splitfed.types import Phase
from splitfed.wire.link import DirectLink, GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello
from tests.federation.harness import Recorder, train
from tests.federation.test_split_equals_whole import weights_of

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]
Deaths = Mapping[int, tuple[int, int]]
"""By client: the round in which it dies, and how many steps it takes in it."""


class CrashError(RuntimeError):
    """A client's process that dies."""


class InTurn:
    """Lets the clients' training steps reach the server in turn: client 0, 1, 2, 0, ... in each round."""

    def __init__(self, clients: int, deaths: Deaths) -> None:
        self._clients, self._deaths = clients, deaths
        self._round, self._queue = 0, list[int]()
        self._moved = threading.Condition()

    def before_step(self, hello: Hello, step: int) -> None:
        if hello.phase is not Phase.TRAIN:
            return
        with self._moved:
            if self._round < hello.round:
                self._round, self._queue = hello.round, list(range(self._clients))
            assert self._moved.wait_for(lambda: self._queue[0] == hello.client, timeout=30)
            if self._deaths.get(hello.client) == (hello.round, step):
                self._queue.remove(hello.client)
                self._moved.notify_all()
                raise CrashError

    def on_step(self, report: StepReport) -> None:
        with self._moved:
            client = self._queue.pop(0)
            assert client == report.client
            if report.step + 1 < report.steps:
                self._queue.append(client)
            self._moved.notify_all()


def train_interleaved(job: Job, shares: Shares, deaths: Deaths) -> str:
    """The same rounds without any cut: one back for all, whose steps the clients take in turn."""
    front, back = job.front(), job.back()
    for number in range(1, job.scenario.federation.rounds + 1):
        fronts = [copy.deepcopy(front) for _ in shares]
        optimizers = [job.optimizer(own) for own in fronts]
        of_back = job.optimizer(back)
        batches = [training_batches(job, client, len(share.train), number) for client, share in enumerate(shares)]
        alive = set(range(len(shares)))
        for step in range(max(map(len, batches))):
            for client in sorted(alive):
                if deaths.get(client) == (number, step):
                    alive.discard(client)
                elif step < len(batches[client]):
                    images = shares[client].train[batches[client][step]]
                    loss = F.cross_entropy(back(fronts[client](images.pixels)), images.labels)
                    for optimizer in (optimizers[client], of_back):
                        optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    for optimizer in (optimizers[client], of_back):
                        optimizer.step()
        counts = {client: len(shares[client].train) for client in sorted(alive)}
        states = [(count / sum(counts.values()), fronts[client].state_dict()) for client, count in counts.items()]
        front.load_state_dict(
            {name: sum((w * s[name] for w, s in states), torch.zeros_like(v)) for name, v in front.state_dict().items()}
        )
    return fingerprint({**front.state_dict(prefix="front."), **back.state_dict(prefix="back.")})


def in_turn(job: Job, shares: Shares, deaths: Deaths, watcher: Recorder | None = None, *, direct: bool = False) -> str:
    turns = InTurn(len(shares), deaths)
    result = train(job, shares, direct=direct, watcher=watcher, before_step=turns.before_step, on_step=turns.on_step)
    return weights_of(result)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_client_over_grpc_equals_training_the_whole_network(optimizer: str, job_of: JobOf, shares: Shares) -> None:
    """No order has to be forced: with one client there is only one."""
    job = job_of(
        federation={"variant": "sflv2", "clients": 1, "optimizer": optimizer, "learning_rate": 0.01},
        data={"train": 160},
    )
    assert weights_of(train(job, shares[:1])) == train_interleaved(job, shares[:1], {})


def test_clients_in_turn_over_grpc_equal_one_network_that_takes_their_batches_in_turn(
    job_of: JobOf, shares: Shares
) -> None:
    job = job_of(federation={"variant": "sflv2"})
    assert in_turn(job, shares, {}) == train_interleaved(job, shares, {})
    assert train_interleaved(job, shares, {}) != weights_of(train(job_of(), shares, direct=True))


def test_what_a_client_that_dies_has_updated_stays_and_its_front_is_dropped(job_of: JobOf, shares: Shares) -> None:
    job, watcher = job_of(federation={"variant": "sflv2"}), Recorder()
    deaths = {1: (1, 3)}
    assert in_turn(job, shares, deaths, watcher) == train_interleaved(job, shares, deaths)
    assert [(number, client) for number, client, _ in watcher.lost] == [(1, 1)]
    assert train_interleaved(job, shares, deaths) != train_interleaved(job, shares, {1: (1, 2)})


def test_clients_at_once_all_train_the_one_back(job_of: JobOf, shares: Shares) -> None:
    """Whatever the order: no step is lost, and what is tested is the back that they trained."""
    watcher = Recorder()
    result = train(job_of(federation={"variant": "sflv2"}), shares, watcher=watcher)
    assert watcher.lost == []
    assert result.history[-1][0] < result.history[0][0]
    assert result.accuracy > 0.5


@pytest.fixture
def federation(job_of: JobOf) -> Federation:
    """In the first round of three clients that share the back."""
    made = Federation(job_of(federation={"variant": "sflv2"}), Recorder())
    made.host.begin(1, Phase.TRAIN)
    return made


def hello(host: BackHost, client: int, secret: str = "") -> Hello:
    shape = host.activation_shape
    return Hello(host.run, 1, client, Phase.TRAIN, shape, token=client_token(secret or "secret", client))


def opened(host: BackHost, client: int) -> SharedSession:
    session = host.open(hello(host, client))
    assert isinstance(session, SharedSession)
    return session


def batch(value: float = 1.0) -> tuple[Tensor, Tensor]:
    return torch.full((4, 48), value), torch.tensor([0, 1, 2, 3])


def test_an_answer_on_its_way_keeps_no_other_client_waiting(federation: Federation) -> None:
    """Nothing is owed between the answer and the update, so that a client that dies there leaves nothing behind."""
    host = federation.host
    dies, goes_on = opened(host, 0), opened(host, 1)
    first = dies.forward(0, *batch())
    after = fingerprint(federation.back.state_dict())
    assert goes_on.forward(0, *batch()).loss < first.loss  # it has learned from the first already
    moved = fingerprint(federation.back.state_dict())
    assert moved != after
    dies.update()
    assert fingerprint(federation.back.state_dict()) == moved


@pytest.mark.parametrize("ending", ["the average", "the next phase"])
def test_a_late_step_never_reaches_the_back(ending: str, federation: Federation) -> None:
    host = federation.host
    late = opened(host, 0)
    late.forward(0, *batch())
    host.average({1: 160}) if ending == "the average" else host.begin(1, Phase.TEST)
    kept = fingerprint(federation.back.state_dict())
    with pytest.raises(Refused, match="STALE_ROUND: you are late"):
        late.forward(1, *batch())
    assert fingerprint(federation.back.state_dict()) == kept


@pytest.mark.parametrize("steep", [False, True], ids=["an infinite loss", "infinite gradients"])
@pytest.mark.parametrize("over_grpc", [False, True])
def test_a_step_that_is_not_finite_costs_its_client_the_round_and_the_back_nothing(
    steep: bool, over_grpc: bool, federation: Federation
) -> None:
    """Finite activations may give numbers that are not; in a back of its own they would be the client's alone."""
    host = federation.host
    if steep:  # a loss of some 1e33 is finite, the gradient of the first layer is not
        for name, factor in (("0", 1e-6), ("2", 1e3)):
            host.back.get_parameter(f"layers.{name}.weight").data *= factor
    before = fingerprint(federation.back.state_dict())
    asked = hello(host, 0)
    with (
        SplitServer(host, secret="secret") as server,
        GrpcLink([server.address], asked) if over_grpc else DirectLink(host, asked) as link,
        pytest.raises(Refused, match="NOT_FINITE.*gradients of the weights" if steep else "NOT_FINITE.*the loss is"),
    ):
        link.forward(0, *batch(3e38))
    assert fingerprint(federation.back.state_dict()) == before
    with DirectLink(host, hello(host, 1)) as link:
        link.forward(0, *batch())
    assert fingerprint(federation.back.state_dict()) != before


def test_no_image_is_taken_twice_in_a_round(federation: Federation) -> None:
    """A client that lost its memory begins anew; what its steps did to the shared back cannot be undone."""
    host = federation.host
    opened(host, 0)
    opened(host, 0).forward(0, *batch())  # it had not taken any step
    with pytest.raises(Refused, match="has 1 of your steps already"):
        opened(host, 0)
    with pytest.raises(Refused, match="UNKNOWN_RUN"):
        host.open(replace(hello(host, 0), run="other"))
