"""Nodes come, go, and lie about who they are: each client has one node, and every node at most one number."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from splitfed.errors import SplitfedError
from splitfed.federation import roster
from splitfed.federation.client import ClientImages
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.federation.roster import JoinedNodes, NumberedNodes, introduction
from splitfed.federation.server_app import Federation, build_server_app
from splitfed.metrics.fingerprint import fingerprint
from splitfed.runners.local_grid import LocalGrid
from tests.federation.harness import Recorder, train

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]
WHOLE = introduction("client").config_records["who"]
"""All that a node says of itself."""
GONE = Error(1, "the node does not answer")


class Nodes(LocalGrid):
    """Nodes that Flower numbered as it likes, and that come and go."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__(app, 0)
        self.apps: dict[int, ClientApp] = {}
        self.gone: set[int] = set()
        self.asked: list[int] = []

    def come(self, node: int, client: int, app: ClientApp | None = None) -> None:
        """This node is there from now on, and says that it is this client."""
        config: dict[str, bool | float | int | str] = {"partition-id": client, "num-partitions": 3}
        self._contexts[node] = Context(run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config={})
        if app is not None:
            self.apps[node] = app

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        self.asked.append(node)
        if node in self.gone:
            return Message(GONE, reply_to=message)
        own = self.apps.get(node)
        return super()._answer(message) if own is None else own(message, self._contexts[node])


def saying(record: dict[str, Any]) -> ClientApp:
    """A node that says this of itself."""
    app = ClientApp()

    @app.query("join")
    def join(message: Message, context: Context) -> Message:  # noqa: ARG001
        return Message(RecordDict({"who": ConfigRecord({**WHOLE, **record})}), reply_to=message)

    return app


def failing(*codes: int) -> ClientApp:
    """A node that meets these errors, one after the other, and then joins as client 1."""
    errors = list(codes)

    def answer(message: Message, context: Context) -> Message:
        if errors:
            return Message(Error(errors.pop(0), "no images yet"), reply_to=message)
        return saying({"role": "client", "client": 1})(message, context)

    return answer  # type: ignore[return-value]


@pytest.fixture
def config(job_of: JobOf) -> ConfigRecord:
    return job_of().to_config(["127.0.0.1:1"])


@pytest.fixture
def grid(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    monkeypatch.setattr(roster, "ANSWER_S", 10.0)
    monkeypatch.setattr(roster, "PAUSE_S", 0.01)
    nodes = Nodes(build_client_app(lambda _, number: shares[number]))
    with nodes:
        yield nodes


@pytest.fixture
def said() -> list[str]:
    return []


def joined(
    said: list[str], clients: int = 3, patience_s: float = 0.0, roles: Mapping[str, str] | None = None
) -> JoinedNodes:
    return JoinedNodes(clients, patience_s=patience_s, notice=said.append, roles=roles)


def test_clients_stand_in_the_order_of_their_numbers_whatever_their_nodes_are(
    grid: Nodes, config: ConfigRecord, said: list[str]
) -> None:
    for node, client in ((77, 2), (5, 1), (901, 0)):
        grid.come(node, client)
    nodes = joined(said)
    nodes.refresh(grid, config)
    assert list(nodes.clients_of(grid).get_node_ids()) == [901, 5, 77]
    assert [nodes.client_of(node) for node in (901, 5, 77)] == [0, 1, 2]
    assert (nodes.absent(), said, nodes.others) == ({}, [], {})
    with pytest.raises(KeyError):
        nodes.client_of(6)


def test_who_has_joined_is_not_asked_again(grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    grid.come(5, 0)
    nodes = joined(said)
    nodes.refresh(grid, config)
    nodes.refresh(grid, config)
    assert grid.asked == [5]


def test_before_the_first_round_all_are_waited_for(grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    grid.come(5, 0)
    nodes = joined(said, clients=2, patience_s=30.0)
    threading.Timer(0.2, grid.come, (6, 1)).start()
    nodes.refresh(grid, config)
    assert nodes.absent() == {}


def test_one_that_comes_later_joins_at_the_next_round(grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    grid.come(5, 0)
    nodes = joined(said, clients=2)
    nodes.refresh(grid, config)
    assert nodes.absent() == {1: "it has not joined"}
    grid.come(6, 1)
    nodes.refresh(grid, config)
    assert list(nodes.clients_of(grid).get_node_ids()) == [5, 6]
    assert (nodes.absent(), said) == ({}, [])


def test_a_run_without_any_client_has_not_begun(grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    with pytest.raises(SplitfedError, match=r"no client joined within 0\.05 s.*--resume"):
        joined(said, patience_s=0.05).refresh(grid, config)


def test_a_number_that_is_taken_stays_with_who_had_it(grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    grid.come(5, 0)
    nodes = joined(said)
    nodes.refresh(grid, config)
    grid.come(6, 0)
    nodes.refresh(grid, config)
    assert nodes.client_of(5) == 0
    assert said == ["two nodes say that they are client 0: the later one is left out"]


def test_the_number_of_one_that_is_gone_goes_to_who_was_started_anew(
    grid: Nodes, config: ConfigRecord, said: list[str]
) -> None:
    grid.come(5, 0)
    nodes = joined(said)
    nodes.refresh(grid, config)
    grid.gone.add(5)
    grid.come(6, 0)
    nodes.refresh(grid, config)
    assert (nodes.client_of(6), said) == (0, [])
    with pytest.raises(KeyError):
        nodes.client_of(5)


@pytest.mark.parametrize("number", [-2, 3, 2**40])
def test_a_number_that_nobody_has_is_left_out(number: int, grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    grid.come(5, 0)
    grid.come(6, 0, saying({"role": "client", "client": number}))
    nodes = joined(said)
    nodes.refresh(grid, config)
    assert list(nodes.clients_of(grid).get_node_ids()) == [5]
    assert said == [f"a node says that it is client {number}; this run has 0 to 2: it is left out"]


@pytest.mark.parametrize(
    "record", [{"role": 3, "client": 1}, {"role": "client", "client": "1"}, {"client": 1, "and": "more"}]
)
def test_what_is_no_introduction_seats_nobody(
    record: dict[str, Any], grid: Nodes, config: ConfigRecord, said: list[str]
) -> None:
    grid.come(5, 0)
    grid.come(6, 1, saying(record))
    nodes = joined(said)
    nodes.refresh(grid, config)
    assert list(nodes.clients_of(grid).get_node_ids()) == [5]
    assert nodes.absent().keys() == {1, 2}


def test_another_role_has_no_part_in_training_and_of_two_the_newer_counts(
    grid: Nodes, config: ConfigRecord, said: list[str]
) -> None:
    grid.come(5, 0)
    grid.come(6, 1, saying({"role": "attacker", "client": 1}))
    nodes = joined(said, roles={"attacker": ""})
    nodes.refresh(grid, config)
    assert list(nodes.clients_of(grid).get_node_ids()) == [5]
    assert nodes.others == {"attacker": 6}
    grid.come(7, 1, saying({"role": "attacker"}))
    nodes.refresh(grid, config)
    assert nodes.others == {"attacker": 7}
    assert nodes.absent().keys() == {1, 2}


def test_a_role_is_for_who_shows_its_key(grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    grid.come(5, 0)
    grid.come(6, -1, saying({"role": "lab", "key": "another"}))
    nodes = joined(said, roles={"lab": "the key"})
    nodes.refresh(grid, config)
    assert nodes.others == {}
    grid.come(7, -1, saying({"role": "lab", "key": "the key"}))
    grid.come(8, -1, saying({"role": "nobody asked for"}))
    nodes.refresh(grid, config)
    assert nodes.others == {"lab": 7}


def test_who_has_no_number_takes_the_lowest_that_is_free(grid: Nodes, config: ConfigRecord, said: list[str]) -> None:
    grid.come(5, 1)
    nodes = joined(said)
    nodes.refresh(grid, config)
    for node in (6, 7, 8):
        grid.come(node, -1, saying({}))
    nodes.refresh(grid, config)
    assert [nodes.client_of(node) for node in (6, 5, 7)] == [0, 1, 2]
    assert said == ["a node says that it is client 3; this run has 0 to 2: it is left out"]


def test_who_cannot_join_is_told_of_once_and_who_was_only_hindered_is_asked_again(
    grid: Nodes, config: ConfigRecord, said: list[str]
) -> None:
    grid.come(5, 0)
    grid.come(6, 1, failing(1001, 1001))
    grid.come(7, 2, failing(2))
    nodes = joined(said)
    for _ in range(4):
        nodes.refresh(grid, config)
    assert list(nodes.clients_of(grid).get_node_ids()) == [5, 6]
    assert said == ["a node cannot join: no images yet"] * 2
    assert grid.asked.count(7) == 1


def federated(job: Job, grid: Nodes, watcher: Recorder, said: list[str]) -> FederationResult:
    """The result of a whole federation of nodes that join."""
    results: list[FederationResult] = []
    federation = Federation(job, watcher, roster=joined(said, patience_s=0.5))
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    build_server_app(federation, results)(grid, context)
    return results[0]


def weights(result: FederationResult) -> tuple[str, str]:
    return fingerprint(result.front.state_dict()), fingerprint(result.back.state_dict())


def test_nodes_that_join_in_any_order_train_as_numbered_ones_do(
    job_of: JobOf, shares: Shares, grid: Nodes, said: list[str]
) -> None:
    for node, client in ((9, 0), (4, 2), (700, 1)):
        grid.come(node, client)
    grid.come(1, 0, saying({"role": "attacker"}))
    job, watcher = job_of(), Recorder()
    assert weights(federated(job, grid, watcher, said)) == weights(train(job, shares))
    assert (watcher.lost, said) == ([], [])
    assert NumberedNodes().absent() == {}


def test_one_that_joins_after_the_first_round_has_missed_that_alone(
    job_of: JobOf, grid: Nodes, said: list[str]
) -> None:
    for node, client in ((9, 0), (4, 2)):
        grid.come(node, client)
    watcher = Recorder(on_round=lambda _: grid.come(700, 1))
    result = federated(job_of(), grid, watcher, said)
    assert result.missed_rounds == {1: [1]}
    assert set(watcher.lost) == {(1, 1, "it has not joined"), (1, 1, "the test of round 1: it has not joined")}
    assert result.audited.keys() == {0, 1, 2}
    assert all(result.audited.values())
