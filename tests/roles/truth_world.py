"""A trained cell whose clients hold the truth, its server's part and its clients in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from splitfed import data
from splitfed.attacker.protocol import MESSAGES, Attacked
from splitfed.experiment.truth import Truth
from splitfed.federation.client import Client, ClientImages
from splitfed.federation.client_app import build_client_app, connect_over_grpc
from splitfed.federation.job import Job
from splitfed.federation.order import evaluation_batches
from splitfed.federation.outcome import FederationResult
from splitfed.federation.roster import JoinedNodes
from splitfed.federation.server_app import Federation
from splitfed.federation.shares import shares
from splitfed.federation.task import Task
from splitfed.metrics.predictors import class_means
from splitfed.roles.client import HeldImages
from splitfed.roles.clients_truth import ClientsTruth
from splitfed.roles.config import ClientOptions
from splitfed.roles.lab_protocol import ATTACK, OBSERVATIONS, News, Scored, Unjudged
from splitfed.roles.scoring_client import ScoringClient
from splitfed.roles.scoring_protocol import SharedAuxiliary
from splitfed.runners.local_grid import LocalGrid
from splitfed.types import FitEvidence, Images, Observation, Phase
from splitfed.wire.observations import ObservationWriter
from tests.federation.harness import Recorder

CLIENTS = 2
FIT = FitEvidence(1.0, 0.5, True, 3, 20.0, 0.5, True)
JobOf = Callable[..., Job]


class SharesByNumber:
    """Each client's own `HeldImages`: its share, which it finds by its number."""

    synthetic = False

    def __init__(self) -> None:
        self._held = {number: HeldImages(ClientOptions(client=number)) for number in range(CLIENTS)}

    def __call__(self, job: Job, number: int) -> ClientImages:
        return self._held[number](job, number)


class Overheard(ClientApp):
    """Another app, of which what is answered is kept: all that leaves the clients."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self.answers: list[tuple[str, RecordDict]] = []
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        reply = self._app(message, context)
        self.answers.append((message.metadata.message_type, reply.content))
        return reply


class TruthWorld:
    """One cell: trained and audited, and about to be attacked by whatever a test has the attacker say."""

    def __init__(self, job: Job, splits: data.Splits, grid: LocalGrid, app: Overheard) -> None:
        self.job = job
        self.grid = grid
        self.app = app
        self.auxiliary = splits.aux
        self.clients = shares(job.scenario, splits, job.cell.seed)
        self.roster = JoinedNodes(CLIENTS, patience_s=20, notice=lambda _: None)
        self.told: list[News] = []
        self.result: FederationResult = Federation(job, Recorder(), roster=self.roster).run(grid)
        self.server = ClientsTruth(grid, self.roster, job, job.to_config([]), self.told.append)
        self.server.begin(self.result)

    @property
    def truth(self) -> Truth:
        """What a lab has that holds all images."""
        return Truth(self.job, self.clients)

    def observed(self, *, scale: float = 1.0) -> list[Observation]:
        """What a tap has of the audit; on another ``scale``, what no client sent."""
        found = []
        for number, own in enumerate(self.clients):
            victim = Task(Client(self.job, number, own, connect_over_grpc(self.job)))
            victim.front.load_state_dict(self.result.front.state_dict())
            for step, rows in enumerate(evaluation_batches(self.job, len(own.train))):
                sent = victim.sent(Phase.AUDIT, self.audit_round, step, rows) * scale
                found.append(Observation(self.job.run, self.audit_round, number, Phase.AUDIT, step, sent, None))
        return found

    @property
    def audit_round(self) -> int:
        return self.job.scenario.federation.rounds + 1

    @property
    def index(self) -> np.ndarray:
        """Of all images, by client and step."""
        rows = [
            [self.audit_round, number, step, row]
            for number, own in enumerate(self.clients)
            for step, batch in enumerate(evaluation_batches(self.job, len(own.train)))
            for row in range(len(batch))
        ]
        return np.array(rows, dtype=np.int64)

    def made(self, noise: float) -> Tensor:
        """What an attack makes that is off by this much noise."""
        originals = self.truth.originals(self.index).pixels
        drawn = torch.randn(originals.shape, generator=torch.Generator().manual_seed(7))
        return (originals + noise * drawn).clamp(0, 1)

    def attack(self, name: str, made: Tensor, index: np.ndarray | None = None) -> str:
        """Have the attacker say that it is done with an attack; what the server passes on to the lab."""
        file = BytesIO()
        np.savez(file, index=self.index if index is None else index, images=made.numpy())
        said = Attacked(attack=name, is_control=False, fit=FIT, reconstructions=f"{name}.npz", seconds=1.0)
        return self.server.overhear(MESSAGES.write(said).decode(), {f"{ATTACK}{name}.npz": file.getvalue()})

    def ask(self, client: int, kind: str, **records: ArrayRecord) -> Message:
        """What a client answers to a question of the server's own making."""
        config = self.job.config_of(client, self.job.to_config([]))
        content = RecordDict({"config": config, **records})
        node = self.roster.node_of(client)
        assert node is not None
        (reply,) = self.grid.send_and_receive([Message(content, node, kind)], timeout=20)
        return reply

    def conclude(self, folder: Path, observed: list[Observation] | None = None, own: Images | None = None) -> None:
        """Have the attacker show its tap and its own images, and the clients judge."""
        write = ObservationWriter(folder)
        for each in self.observed() if observed is None else observed:
            write(each)
        write.close()
        tapped = {f"{OBSERVATIONS}{path.name}": path.read_bytes() for path in folder.glob("*.obs")}
        self.server.overhear("{}", tapped)
        self.server.conclude(shared(self.auxiliary if own is None else own))

    def scored(self, what: str) -> Mapping[int, Scored]:
        return {news.client: news for news in self.told if isinstance(news, Scored) and news.what == what}

    @property
    def unjudged(self) -> list[Unjudged]:
        return [news for news in self.told if isinstance(news, Unjudged)]


def shared(own: Images) -> RecordDict:
    """What an attacker shows of its own images."""
    hashes = np.frombuffer(b"".join(own.content_hashes()), np.uint8).reshape(len(own), -1)
    return SharedAuxiliary(hashes, own.pixels.mean(dim=0), class_means(own), own.classes).to_record()


@contextmanager
def trained(
    job_of: JobOf, splits: data.Splits, *, scores: int = 200, defense: str = "none", attacks: int = 2
) -> Iterator[TruthWorld]:
    """A cell that two clients have trained and audited."""
    job = job_of(
        defense,
        truth="clients",
        federation={"clients": CLIENTS, "rounds": 1},
        attack=[{"name": "ridge", "label": f"ridge-{number}"} for number in range(attacks)],
    )
    held = SharesByNumber()
    app = Overheard(ScoringClient(build_client_app(held), held, most=scores))
    with LocalGrid(app, CLIENTS) as grid:
        yield TruthWorld(job, splits, grid, app)
