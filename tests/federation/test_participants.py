"""A part of the clients trains in each round, drawn from the seed; the others miss nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from splitfed.config.tables import FederationOptions
from splitfed.errors import Refused
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.federation.participants import participants, rounds_of_clients
from splitfed.federation.server_app import Federation
from splitfed.metrics.fingerprint import fingerprint
from splitfed.types import Phase
from splitfed.wire.proof import client_token
from splitfed.wire.session import Hello
from tests.federation.harness import Recorder, train
from tests.federation.test_checkpoint import Interruption, computed, interrupt_in
from tests.federation.test_split_equals_whole import weights_of

JobOf = Callable[..., Job]
Shares = Sequence[ClientImages]
SOME = {"client_fraction": 0.67, "rounds": 3}
"""Two of three clients in each round."""


@pytest.mark.parametrize(
    ("clients", "fraction", "count"),
    [(3, 1.0, 3), (3, 0.67, 2), (3, 0.34, 1), (3, 0.01, 1), (1, 0.5, 1), (100, 0.29, 29), (256, 0.1, 26)],
)
def test_so_many_are_drawn(clients: int, fraction: float, count: int) -> None:
    options = FederationOptions(clients=clients, client_fraction=fraction)
    for number in (1, 2, 3):
        drawn = participants(options, 0, number)
        assert len(drawn) == count
        assert list(drawn) == sorted(set(drawn))
        assert set(drawn) <= set(range(clients))


def test_the_draw_is_one_of_seed_and_round() -> None:
    options = FederationOptions(clients=10, client_fraction=0.3)
    assert participants(options, 4, 2) == participants(options, 4, 2)
    assert len({participants(options, seed, number) for seed in range(5) for number in range(1, 5)}) > 15
    often = rounds_of_clients(options.model_copy(update={"rounds": 400}), 0)
    assert sum(often) == 400 * 3
    assert all(80 < rounds < 160 for rounds in often)  # 120 each on average, with a deviation of 9


@pytest.mark.parametrize("variant", ["sflv1", "sflv2"])
@pytest.mark.parametrize("direct", [True, False])
def test_who_is_drawn_trains_and_all_are_tested_and_audited(
    variant: str, direct: bool, job_of: JobOf, shares: Shares
) -> None:
    job = job_of(federation={**SOME, "variant": variant})
    streams: set[tuple[Phase, int, int]] = set()
    watcher = Recorder()
    result = train(
        job,
        shares,
        direct=direct,
        watcher=watcher,
        before_step=lambda hello, _: streams.add((hello.phase, hello.round, hello.client)),
    )
    drawn = {(Phase.TRAIN, number, client) for number in (1, 2, 3) for client in job.participants(number)}
    tested = {(Phase.TEST, number, client) for number in (1, 2, 3) for client in range(3)}
    assert streams == drawn | tested | {(Phase.AUDIT, 4, client) for client in range(3)}
    assert watcher.lost == []
    assert result.missed_rounds == {}
    assert result.audited == {client: len(share.train) for client, share in enumerate(shares)}
    assert set(result.measures) == {client for _, _, client in drawn}


def test_a_round_is_that_of_the_drawn_clients_alone(job_of: JobOf, shares: Shares) -> None:
    """To the bit as if the others had died at their first step."""
    job = job_of(federation=SOME)

    def die(hello: Hello, _: int) -> None:
        if hello.phase is Phase.TRAIN and hello.client not in job.participants(hello.round):
            raise RuntimeError

    died = train(job_of(federation={**SOME, "client_fraction": 1.0}), shares, direct=True, before_step=die)
    some = train(job, shares, direct=True)
    assert weights_of(some) == weights_of(died)
    assert some.history == died.history
    assert some.wire_bytes_per_image == died.wire_bytes_per_image
    assert weights_of(some) != weights_of(train(job_of(federation={"rounds": 3}), shares, direct=True))


def test_a_resumed_run_draws_the_same_clients(job_of: JobOf, shares: Shares, tmp_path: Path) -> None:
    job, kept = job_of(federation=SOME), tmp_path / "cell.pt"
    with pytest.raises(Interruption):
        train(job, shares, direct=True, checkpoint=kept, watcher=interrupt_in(2))
    assert computed(train(job, shares, direct=True, checkpoint=kept)) == computed(train(job, shares, direct=True))


def test_a_client_that_was_drawn_and_dies_has_missed_the_round(job_of: JobOf, shares: Shares) -> None:
    job = job_of(federation=SOME)
    dies = job.participants(2)[0]

    def die(hello: Hello, _: int) -> None:
        if (hello.phase, hello.round, hello.client) == (Phase.TRAIN, 2, dies):
            raise RuntimeError

    assert train(job, shares, direct=True, before_step=die).missed_rounds == {dies: [2]}


@pytest.mark.parametrize("variant", ["sflv1", "sflv2"])
def test_who_was_not_drawn_is_turned_away_and_moves_nothing(variant: str, job_of: JobOf) -> None:
    job = job_of(federation={**SOME, "variant": variant})
    federation = Federation(job, Recorder())
    drawn = job.participants(1)
    (other,) = {0, 1, 2} - set(drawn)
    before = fingerprint(federation.back.state_dict())
    federation.host.begin(1, Phase.TRAIN, drawn)
    for client in range(3):
        hello = Hello(job.run, 1, client, Phase.TRAIN, (48,), token=client_token("secret", client))
        if client == other:
            with pytest.raises(Refused, match=r"UNKNOWN_CLIENT: .*you were not drawn for this round"):
                federation.host.open(hello)
        else:
            federation.host.open(hello)
    assert fingerprint(federation.back.state_dict()) == before


def test_the_plan_says_how_often_each_client_trains(job_of: JobOf, shares: Shares) -> None:
    job = job_of(federation={**SOME, "local_epochs": 2})
    plan = job.plan([len(share.train) for share in shares])
    trained = Counter(client for number in (1, 2, 3) for client in job.participants(number))
    assert plan.client_rounds == tuple(trained[client] for client in range(3))
    assert plan.epochs == tuple(2 * trained[client] for client in range(3))
    assert job_of().plan([160, 160, 160]).epochs == (2, 2, 2)
