"""Each client is handed a token of its own, in a Message of its own, and nobody the secret."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest
from flwr.app import ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from splitfed.errors import Refused
from splitfed.federation.client import ClientImages
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.federation.server_app import Federation
from splitfed.runners.local_grid import LocalGrid
from splitfed.types import Phase
from splitfed.wire.link import GrpcLink
from splitfed.wire.proof import client_token
from splitfed.wire.service import SplitServer
from splitfed.wire.session import Hello
from tests.federation.harness import Recorder, train

JobOf = Callable[..., Job]
Shares = list[ClientImages]


def settings_seen(job: Job, shares: Shares) -> list[tuple[int, str, ConfigRecord]]:
    """(client, kind of Message, settings) of a whole federation."""
    seen: list[tuple[int, str, ConfigRecord]] = []
    inner = build_client_app(lambda _, number: shares[number])

    class Watching(ClientApp):
        def __call__(self, message: Message, context: Context) -> Message:
            config = message.content.config_records["config"]
            seen.append((int(context.node_config["partition-id"]), message.metadata.message_type, config))
            return inner(message, context)

    with LocalGrid(Watching(), 3) as grid:
        Federation(job, Recorder()).run(grid)
    return seen


def test_each_message_holds_the_token_of_its_client_and_no_other(job_of: JobOf, shares: Shares) -> None:
    job = replace(job_of(federation={"rounds": 1}), secret=secrets.token_hex(16))
    seen = settings_seen(job, shares)
    tokens = [client_token(job.secret, client) for client in range(3)]
    assert len(set(tokens)) == 3
    assert {client for client, kind, _ in seen if kind.startswith("train")} == {0, 1, 2}
    assert {kind.split(".")[0] for _, kind, _ in seen} == {"train", "evaluate"}
    for client, _, config in seen:
        assert config["token"] == tokens[client]
        others = {str(value) for value in config.values()} & {job.secret, *tokens} - {tokens[client]}
        assert others == set()
    assert len({id(config) for _, _, config in seen}) == len(seen)


def test_a_client_knows_its_token_and_not_the_secret(job_of: JobOf) -> None:
    job = job_of()
    own = Job.from_config(job.config_of(1, job.to_config([])))
    assert (own.secret, own.token) == ("", client_token(job.secret, 1))
    assert own.token not in repr(own)
    assert job.secret not in repr(job).replace("secret", "")


def test_the_token_of_one_client_opens_no_stream_of_another(job_of: JobOf, shares: Shares) -> None:
    job = job_of(federation={"rounds": 1})
    theirs = client_token(job.secret, 1)

    def route(address: str) -> list[str]:
        hello = Hello(job.run, 1, 0, Phase.TRAIN, (48,), token=theirs)
        with pytest.raises(Refused, match="BAD_TOKEN: client-0: its proof was not made with the token of this client"):
            GrpcLink([address], hello, deadline_s=10)
        return [address]

    result = train(job, shares, watcher=Recorder(route_to=route))
    assert result.refused == {"BAD_TOKEN": 1}
    assert result.missed_rounds == {}


def test_a_server_that_was_started_anew_gives_new_tokens_to_the_same_clients(job_of: JobOf, shares: Shares) -> None:
    """A ClientApp may outlive the ServerApp that it first heard of."""
    app = build_client_app(lambda _, number: shares[number])
    for secret in ("first", "second"):
        job = replace(job_of(federation={"rounds": 1}), secret=secret)
        with LocalGrid(app, 3) as grid:
            assert Federation(job, Recorder()).run(grid).missed_rounds == {}


def test_a_server_without_a_secret_does_not_start(job_of: JobOf) -> None:
    federation = Federation(replace(job_of(), secret=""), Recorder())
    with pytest.raises(ValueError, match="an empty secret would let everyone in"):
        SplitServer(federation.host, secret=federation.job.secret)
