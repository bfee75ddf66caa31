"""Flower's ClientApp: turns a Message into a round of a `Client`, and the result into a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import grpc
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from splitfed.federation.arrays import load_arrays, to_arrays
from splitfed.federation.client import Client, ClientImages, Connect, OnStep, StreamReport
from splitfed.federation.job import Job
from splitfed.federation.roster import ANY, CLIENT, introduction
from splitfed.federation.task import Task
from splitfed.types import Phase
from splitfed.wire.link import GrpcLink, Link
from splitfed.wire.reconnecting_stream import SilentAddresses
from splitfed.wire.session import Hello

ImagesOf = Callable[[Job, int], ClientImages]
"""Finds the images of a client by its number."""


def connect_over_grpc(
    job: Job, stopped: Callable[[], bool] | None = None, credentials: grpc.ChannelCredentials | None = None
) -> Connect:
    """Streams that take the scenario's deadline, and share what they learn of addresses that do not answer.

    Once ``stopped`` says so they wait for nothing more. With ``credentials``, the client's own, they go under TLS.
    """
    limit_s = job.scenario.federation.stream_deadline_s
    silent = SilentAddresses()

    def connect(addresses: Sequence[str], hello: Hello) -> AbstractContextManager[Link]:
        return GrpcLink(addresses, hello, deadline_s=limit_s, silent=silent, stopped=stopped, credentials=credentials)

    return connect


def build_client_app(
    images_of: ImagesOf,
    *,
    connect: Connect | None = None,
    credentials: Callable[[int], grpc.ChannelCredentials] | None = None,
    addresses: Sequence[str] = (),
    on_step: OnStep | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> ClientApp:
    """A ClientApp for all clients that run in this process.

    Args:
        images_of: finds a client's own images.
        connect: opens the streams; over gRPC by default.
        credentials: for TLS on these, by the client's number.
        addresses: where the server is reached, in turn; by default what it says itself.
        on_step: told after each training step.
        stopped: asked before each step; once true, clients leave their round.
    """
    app = ClientApp()
    clients: dict[tuple[str, int], Client] = {}

    def begin(
        message: Message, context: Context, part: Callable[[Task], nn.Module] = lambda task: task.held
    ) -> tuple[Task, ConfigRecord]:
        config = message.content.config_records["config"]
        number = number_of(context, config)
        key = (str(config["run"]), number)
        if key not in clients or clients[key].job.token != config["token"]:  # a server that was started anew
            for other in [other for other in clients if other[0] != key[0]]:
                del clients[other]  # of a run that is over
            job = Job.from_config(config)
            own = credentials(number) if credentials is not None else None
            link = connect or connect_over_grpc(job, stopped, own)
            clients[key] = Client(job, number, images_of(job, number), link, on_step=on_step, stopped=stopped)
        task = Task(clients[key])
        load_arrays(part(task), message.content.array_records["arrays"])
        return task, config

    @app.query("join")
    def join(message: Message, context: Context) -> Message:
        number = int(context.node_config["partition-id"])
        job = Job.from_config(message.content.config_records["config"])
        if number == ANY and job.classes:
            return Message(introduction(CLIENT), reply_to=message)
        held = images_of(job, max(number, 0)).train  # who has no images says so now; all shares are of one shape
        images = 0 if number == ANY else len(held)
        told = introduction(CLIENT, client=number, images=images, classes=len(held.classes), shape=held.shape)
        return Message(told, reply_to=message)

    @app.train("prepare")
    def prepare(message: Message, context: Context) -> Message:
        task, config = begin(message, context, lambda task: task.front)
        examples = task.prepare(_round(config))
        return _reply(message, to_arrays(task.front), {"num-examples": examples})

    @app.train()
    def train(message: Message, context: Context) -> Message:
        task, config = begin(message, context)
        report = task.train(_round(config), addresses or _addresses(config))
        reply = _reply(message, to_arrays(task.held), _metrics(report, task.job))
        reply.content["measures"] = ConfigRecord(dict(report.measures))
        return reply

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        task, config = begin(message, context)
        report = task.evaluate(Phase(int(str(config["phase"]))), _round(config), addresses or _addresses(config))
        return _reply(message, None, _metrics(report, task.job))

    return app


def number_of(context: Context, config: ConfigRecord) -> int:
    """The client's own number, or the one that the server has given it."""
    own = int(context.node_config["partition-id"])
    return int(str(config["client"])) if own == ANY else own


def _round(config: ConfigRecord) -> int:
    return int(str(config["server-round"]))


def _addresses(config: ConfigRecord) -> list[str]:
    addresses = config["addresses"]
    assert isinstance(addresses, list)
    return [str(address) for address in addresses]


def _metrics(report: StreamReport, job: Job) -> dict[str, float]:
    """What the server cannot count itself; also what became of the images, where only the client knows."""
    metrics: dict[str, float] = {
        "num-examples": report.examples,
        "sent-bytes": report.sent_bytes,
        "received-bytes": report.received_bytes,
    }
    return metrics | {"loss": report.loss, "correct": report.correct} if job.keeps_labels else metrics


def _reply(message: Message, arrays: ArrayRecord | None, metrics: dict[str, float]) -> Message:
    content = RecordDict({"metrics": MetricRecord(dict(metrics))})
    if arrays is not None:
        content["arrays"] = arrays
    return Message(content, reply_to=message)
