"""The small federation that meets the faults, and what it comes to without a wire and without a fault."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from splitfed.bench.faults.clients import asked
from splitfed.bench.faults.network import STREAM_DEADLINE_S
from splitfed.bench.faults.sabotage import CrashError
from splitfed.bench.faults.script import BATCH, PER_CLIENT, LeftOut
from splitfed.config.load import validate
from splitfed.config.scenario import Scenario
from splitfed.experiment.images import load_images
from splitfed.federation.backs import PhaseScore
from splitfed.federation.client import ClientImages
from splitfed.federation.client_app import build_client_app
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.federation.server_app import Federation, build_server_app
from splitfed.federation.shares import shares
from splitfed.metrics.fingerprint import fingerprint
from splitfed.models.front import Front
from splitfed.records.bus import Bus
from splitfed.runners.local_grid import LocalGrid
from splitfed.wire.link import DirectLink, Link
from splitfed.wire.session import Hello, SessionHost
from splitfed.wire.traffic import ServerTraffic

WIDTH = 16
SOON_S, NEVER_S = 0.3, 60.0
"""The deadline of a round where a client freezes, and where none does."""
DEFENSES: Mapping[str, Mapping[str, Any]] = {
    "none": {"name": "none"},
    "sca": {"name": "sca", "first_rounds": 1, "first_steps": 1},
}


def scenario(
    clients: int,
    rounds: int,
    *,
    defense: str = "none",
    round_deadline_s: float = NEVER_S,
    attack_deadline_s: float = NEVER_S,
    stream_deadline_s: float = STREAM_DEADLINE_S,
) -> Scenario:
    """So small that a run takes a fraction of a second."""
    return validate(
        {
            "name": "faults",
            "data": {"name": "digits", "train": PER_CLIENT * clients, "aux": 200, "test": BATCH * clients},
            "model": {"width": WIDTH},
            "federation": {
                "clients": clients,
                "rounds": rounds,
                "batch_size": BATCH,
                "round_deadline_s": round_deadline_s,
                "stream_deadline_s": stream_deadline_s,
            },
            "attacker": {"margin_db": 0.0, "deadline_s": attack_deadline_s},
            "defense": [DEFENSES[defense]],
            "attack": [{"name": "ridge"}],
        },
        source="faults",
    )


@lru_cache(maxsize=8)
def images(clients: int) -> Sequence[ClientImages]:
    """What each of so many clients holds."""
    options = scenario(clients, 1)
    _, splits = load_images(options, None, Bus())
    return shares(options, splits, options.seed)


def job(clients: int, rounds: int, *, defense: str, round_deadline_s: float) -> Job:
    """What server and clients agree on."""
    options = scenario(clients, rounds, defense=defense, round_deadline_s=round_deadline_s)
    own = images(clients)[0].train
    (cell,) = options.cells()
    return Job("faults/cell", options, cell, own.shape, len(own.classes), secret="faults")


def flower_context() -> Context:
    """What Flower gives a ServerApp."""
    return Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})


def digest(result: FederationResult) -> dict[str, Any]:
    """All that a run computes, weights as fingerprints; not what its way over the wire cost."""
    return {
        "front": fingerprint(result.front.state_dict()),
        "back": fingerprint(result.back.state_dict()),
        "history": result.history,
        "accuracy": (result.accuracy, result.train_accuracy),
        "measures": {client: dict(figures) for client, figures in sorted(result.measures.items())},
        "missed": {client: sorted(rounds) for client, rounds in sorted(result.missed_rounds.items())},
        "audited": dict(result.audited),
    }


class _Nobody:
    """Watches a federation, and says nothing."""

    def hosted(self, host: SessionHost) -> SessionHost:
        return host

    def serving(self, server_address: str, traffic: ServerTraffic) -> None:
        pass

    def routes(self) -> list[str]:
        return []

    def prepared(self, done: int, total: int) -> None:
        pass

    def front_sent(self, round_number: int, front: Front) -> None:
        pass

    def client_lost(self, round_number: int, client: int, reason: str) -> None:
        pass

    def round_finished(self, round_number: int, train: PhaseScore, test: PhaseScore) -> None:
        pass


class _WithoutSome(ClientApp):
    """Clients that have no part in some of what they are asked."""

    def __init__(self, app: Callable[[Message, Context], Message], left_out: Collection[LeftOut]) -> None:
        super().__init__()
        self._app = app
        self._left_out = left_out

    def __call__(self, message: Message, context: Context) -> Message:
        number, phase = asked(message)
        if message.metadata.message_type == "train.prepare":
            number = 0
        place = (message.metadata.dst_node_id - 1, number, phase)
        if LeftOut(*place) in self._left_out:
            raise CrashError
        reply = self._app(message, context)
        if LeftOut(*place, heard=True) in self._left_out:
            raise CrashError
        return reply


@lru_cache(maxsize=512)
def reference(clients: int, rounds: int, defense: str, left_out: frozenset[LeftOut]) -> dict[str, Any]:
    """The `digest` of a run without a wire, in which these streams never were."""
    federation = Federation(job(clients, rounds, defense=defense, round_deadline_s=NEVER_S), _Nobody())

    def connect(addresses: Sequence[str], hello: Hello) -> Link:  # noqa: ARG001
        return DirectLink(federation.host, hello)

    app = _WithoutSome(build_client_app(lambda _, number: images(clients)[number], connect=connect), left_out)
    results: list[FederationResult] = []
    with LocalGrid(app, clients) as grid:
        build_server_app(federation, results)(grid, flower_context())
    return digest(results[0])
