"""Flower's ServerApp: holds the back, hosts the split service, and averages fronts with a Flower strategy.

`Strategy.start` always begins at round 1 and takes replies as they come; this loop calls the same public methods
of the strategy, but can go on from a checkpoint and sums in the order of the clients.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeVar

import grpc
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp, strategy
from flwr.serverapp.strategy import Strategy

from splitfed.federation.arrays import load_arrays, to_arrays
from splitfed.federation.attendance import Loss, ask, nobody
from splitfed.federation.backs import BackHost, PhaseScore
from splitfed.federation.checkpoint import Checkpoint, damaged
from splitfed.federation.head import held
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult, TrainingProgress, check_trainable
from splitfed.federation.participants import addressed_to
from splitfed.federation.replies import (
    BadReply,
    TrainingReply,
    Unfinished,
    read_outcome,
    read_preparation,
    read_training,
)
from splitfed.federation.roster import NumberedNodes, Roster
from splitfed.federation.watcher import Watcher
from splitfed.files import one_reader
from splitfed.types import Phase
from splitfed.wire.service import SplitServer

Checked = TypeVar("Checked")

SPARE_STREAMS = 4
"""Beyond one place per client: room to say no to numbers that take no part."""


class Federation:
    """Trains one job over a Grid; `run` is what the ServerApp does.

    Args:
        job: the cell, with the server's secret.
        watcher: told of how it goes.
        checkpoint: what is kept after each round, and gone on from.
        roster: which node is which client; numbered from 1 by default.
        address: ``host:port`` of the split service.
        credentials: put it under TLS.
    """

    def __init__(
        self,
        job: Job,
        watcher: Watcher,
        *,
        checkpoint: Path | None = None,
        roster: Roster | None = None,
        address: str = "127.0.0.1:0",
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.job = job
        self.front = job.front()
        self.back = job.back()
        self.held = held(self.front, job.head_of(self.back))
        self._watcher = watcher
        self._checkpoint = checkpoint
        self._credentials = credentials
        self._roster = roster or NumberedNodes()
        self._address = address
        self._progress = TrainingProgress()
        self._strategy = _strategy(job)
        self.host = BackHost(
            back=job.server_part(self.back),
            optimizer=job.optimizer,
            defense=job.defense(),
            noise=job.back_noise,
            run=job.run,
            clients=job.scenario.federation.clients,
            activation_shape=(job.released,),
            classes=job.classes,
            shared=job.scenario.federation.variant == "sflv2",
            keeps_labels=job.keeps_labels,
        )

    def run(self, grid: Grid) -> FederationResult:
        """Prepare, train all rounds that are not yet done, and audit the final front."""
        started = time.monotonic()
        clients = self.job.scenario.federation.clients
        resumed = self._resume()
        with self._served(clients) as server:
            self._watcher.serving(server.address, server.counters)
            config = self.job.to_config(self._watcher.routes())
            if not resumed:
                self._prepare(self._gather(grid, config), config)
            for number in range(self._progress.round + 1, self.job.scenario.federation.rounds + 1):
                self._round(self._gather(grid, config), config, number)
                self._progress.train_s += time.monotonic() - started
                started = time.monotonic()
                self._save()
            last = self._progress.round
            self._watcher.front_sent(last + 1, self.front)
            audit = self._evaluate(self._gather(grid, config), config, Phase.AUDIT, last + 1)
            audited = {client: self.host.received(client) for client in range(clients)}
            refused = dict(server.counters.refused)
        return FederationResult(
            front=self.front.eval(),
            back=self.back,
            accuracy=self._progress.history[-1][1],
            train_accuracy=audit.accuracy,
            wire_bytes_per_image=self._progress.traffic_bytes / max(self._progress.images_sent, 1),
            train_s=self._progress.train_s,
            history=self._progress.history,
            refused=refused,
            measures=self._progress.measures,
            missed_rounds=self._progress.missed_rounds,
            missed_because=self._progress.missed_because,
            audited=audited,
        )

    def _served(self, clients: int) -> SplitServer:
        return SplitServer(
            self._watcher.hosted(self.host),
            address=self._address,
            secret=self.job.secret,
            max_streams=clients + SPARE_STREAMS,
            credentials=self._credentials,
        )

    def _gather(self, grid: Grid, config: ConfigRecord) -> Grid:
        """The grid's clients, as they are now."""
        self._roster.refresh(grid, config)
        return self._roster.clients_of(grid)

    def _prepare(self, grid: Grid, config: ConfigRecord) -> None:
        total = self.job.defense().prepare_rounds()
        for number in range(1, total + 1):
            content = _content(to_arrays(self.front), config, number)
            messages = [Message(content, node, "train.prepare") for node in grid.get_node_ids()]
            replies = self._ask(grid, messages, 0, f"preparation round {number} of {total}", self._prepared)
            load_arrays(self.front, self._average(number, replies.values()))
            self.front.after_average()
            self._watcher.prepared(number, total)

    def _round(self, grid: Grid, config: ConfigRecord, number: int) -> None:
        drawn = self.job.participants(number)
        self.host.begin(number, Phase.TRAIN, drawn)
        self._watcher.front_sent(number, self.front)
        config["server-round"] = number
        messages = self._strategy.configure_train(number, to_arrays(self.held), config, grid)
        asked = addressed_to(messages, drawn, self._roster.client_of)
        replies = self._ask(grid, asked, number, f"round {number}", self._trained, drawn)
        self._load(self._average(number, (reply.message for reply in replies.values())))
        self.host.average({client: reply.examples for client, reply in replies.items()})
        check_trainable(number, front=self.front, back=self.back)
        for reply in replies.values():
            self._progress.traffic_bytes += reply.traffic_bytes
            self._progress.images_sent += reply.examples
        self._progress.measures |= {client: reply.measures for client, reply in replies.items()}
        train = self.host.score(replies)
        test = self._evaluate(grid, config, Phase.TEST, number)
        self._progress.round = number
        self._progress.history.append((train.loss, test.accuracy))
        self._watcher.round_finished(number, train, test)

    def _average(self, number: int, replies: Iterable[Message]) -> ArrayRecord:
        with one_reader:
            arrays, _ = self._strategy.aggregate_train(number, replies)
        assert arrays is not None
        return arrays

    def _load(self, arrays: ArrayRecord) -> None:
        """Load an average. The front's stem is not trained: an average of equal numbers would only round them."""
        stem = copy.deepcopy(self.front.stem.state_dict())
        load_arrays(self.held, arrays)
        self.front.stem.load_state_dict(stem)
        self.front.after_average()

    def _evaluate(self, grid: Grid, config: ConfigRecord, phase: Phase, number: int) -> PhaseScore:
        self.host.begin(number, phase)
        config["phase"] = int(phase)
        config["server-round"] = number
        messages = self._strategy.configure_evaluate(number, to_arrays(self.held), config, grid)
        what = "the audit" if phase is Phase.AUDIT else f"the test of round {number}"
        return self.host.score(self._ask(grid, messages, number, what, self._evaluated))

    def _ask(
        self,
        grid: Grid,
        messages: Iterable[Message],
        number: int,
        what: str,
        check: Callable[[int, Message], Checked],
        among: Collection[int] | None = None,
    ) -> dict[int, Checked]:
        """Client -> what `check` made of its reply, of those whose reply can be used; the others are lost, and so are
        those `among` whom there should be more (all, unless said).

        Raises:
            TrainingFailed: there is none, for reasons that lie in the settings.
            SplitfedError: there is none, for a reason that may pass.
        """
        deadline_s = self.job.scenario.federation.round_deadline_s
        attendance = ask(grid, map(self._addressed, messages), deadline_s, self._roster.client_of)
        usable: dict[int, Checked] = {}
        absent = self._roster.absent().items()
        missing = {client: Loss(reason, passing=True) for client, reason in absent if among is None or client in among}
        lost = missing | attendance.lost
        for client, reply in attendance.replies.items():
            try:
                usable[client] = check(client, reply)
            except BadReply as fault:
                lost[client] = Loss(str(fault), fault.passing)
        told = "" if what == f"round {number}" else f"{what}: "  # the number is told beside the reason
        for client, loss in sorted(lost.items()):
            self._lose(number, client, f"{told}{loss.reason}")
        if not usable:
            raise nobody(what, lost)
        return usable

    def _prepared(self, _: int, reply: Message) -> Message:
        return read_preparation(reply, self.front.state_dict(), self.job.scenario.data.train)

    def _trained(self, client: int, reply: Message) -> TrainingReply:
        return read_training(reply, self.held.state_dict(), self._evaluated(client, reply))

    def _evaluated(self, client: int, reply: Message) -> int:
        """How many images the client's stream held; its word does not count."""
        images = self.host.received(client)
        if not images:
            raise Unfinished("its stream of activations did not finish")
        if self.job.keeps_labels:
            self.host.told(client, *read_outcome(reply, images))
        return images

    def _addressed(self, message: Message) -> Message:
        """The message with settings of its own, with its client's token: Flower's strategies share one content."""
        content = dict(message.content)
        config = message.content.config_records["config"]
        content["config"] = self.job.config_of(self._roster.client_of(message.metadata.dst_node_id), config)
        message.content = RecordDict(content)
        return message

    def _lose(self, number: int, client: int, reason: str) -> None:
        self._progress.miss(client, number, reason)
        self._watcher.client_lost(number, client, reason)

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        Checkpoint(front=self.front.state_dict(), back=self.back.state_dict(), **vars(self._progress)).save(
            self._checkpoint
        )

    def _resume(self) -> bool:
        saved = Checkpoint.load(self._checkpoint) if self._checkpoint else None
        if saved is None or self._checkpoint is None:
            return False
        try:
            self.front.load_state_dict(saved.front)
            self.back.load_state_dict(saved.back)
        except RuntimeError as error:
            raise damaged(self._checkpoint, f"it is of another network: {error}") from error
        names = TrainingProgress.__dataclass_fields__
        self._progress = TrainingProgress(**{name: getattr(saved, name) for name in names})
        return True


def build_server_app(federation: Federation, results: list[FederationResult]) -> ServerApp:
    """A ServerApp that runs `federation` and appends its result to `results`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
        results.append(federation.run(grid))

    return app


def _strategy(job: Job) -> Strategy:
    kind = getattr(strategy, job.scenario.federation.strategy)
    # the clients that are there are asked all; a strategy that waits for more would wait for ever
    made: Strategy = kind(min_train_nodes=1, min_evaluate_nodes=1, min_available_nodes=1)
    return made


def _content(arrays: ArrayRecord, config: ConfigRecord, number: int) -> RecordDict:
    config["server-round"] = number
    return RecordDict({"arrays": arrays, "config": config})
