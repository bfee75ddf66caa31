"""The server's part where clients hold the truth: it takes what the attacker made to the clients, and their scores on.

The lab hears numbers. What the attacker reconstructs goes to the client whose image it is of, and to nobody else.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from pydantic import ValidationError

from splitfed.attacker import protocol
from splitfed.attacker.protocol import MESSAGES
from splitfed.errors import SplitfedError
from splitfed.federation.arrays import to_arrays
from splitfed.federation.attendance import ask
from splitfed.federation.clients_grid import ClientsGrid
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.federation.repeated import CHECKED_BATCHES, ends, payload_bytes_per_image
from splitfed.federation.roster import JoinedNodes
from splitfed.files import write_whole
from splitfed.records.reconstructions import parse_reconstruction
from splitfed.roles.client_answers import BadAnswer, judged, scored
from splitfed.roles.lab_protocol import ATTACK, OBSERVATIONS, News, Tapped, Unjudged
from splitfed.roles.scoring_protocol import (
    BY_CLASS,
    INDEX,
    JUDGE,
    KNOWN,
    MADE,
    MEASURES,
    SCORE,
    TAPPED,
    SharedAuxiliary,
    arrays_of,
    made_by_attack,
)
from splitfed.types import Observation, Phase, Reconstruction
from splitfed.wire.observations import read_observations

logger = logging.getLogger(__name__)


class ClientsTruth:
    """Has the clients of one cell score and judge.

    Args:
        grid: who carries it.
        roster: which node is which client.
        job: the cell, of which it is known what the clients hold.
        config: the settings of its Messages.
        tell: gets what the lab is to hear.
    """

    def __init__(
        self, grid: Grid, roster: JoinedNodes, job: Job, config: ConfigRecord, tell: Callable[[News], None]
    ) -> None:
        self._grid = grid
        self._roster = roster
        self._job = job
        self._config = config
        self._tell = tell
        self._files: dict[str, bytes] = {}
        self._result: FederationResult | None = None
        self._images: dict[int, int] = {}  # that each client sent in the audit
        # one attack at a time, in their order, while the next ones are still at work
        self._scoring = ThreadPoolExecutor(1, "scoring")
        self._lock = threading.Lock()
        self._concluding = False

    def overhear(self, line: str, files: Mapping[str, bytes]) -> str:
        """Take what the attacker made out of what it says; what is left is for the lab."""
        self._files.update(files)
        try:
            message = MESSAGES.read(line)
        except ValidationError:
            return line
        match message:
            case protocol.Learned(reconstructions=str(name)):
                self._files.pop(f"{ATTACK}{name}", None)
                return MESSAGES.write(message.model_copy(update={"reconstructions": None})).decode()
            case protocol.Attacked():
                made = self._files.pop(f"{ATTACK}{message.reconstructions}", b"")
                with self._lock:
                    if not self._concluding:  # an attack that is done too late has no scores
                        self._scoring.submit(self._attacked, message.attack, made)
        return line

    def begin(self, result: FederationResult) -> None:
        """The cell is trained: what the attacker makes from now on is of its audit."""
        self._result = result
        self._images = {client: images for client, images in result.audited.items() if images}

    def conclude(self, shared: RecordDict) -> None:
        """Have all that is left scored and judged.

        Args:
            shared: what the attacker shows of its own images.
        """
        with self._lock:
            self._concluding = True
        self._scoring.shutdown()
        observed = self._observed()
        rows: dict[int, int] = {}
        for each in observed:
            rows[each.client] = rows.get(each.client, 0) + len(each.activation)
        nbytes = payload_bytes_per_image(observed[:CHECKED_BATCHES], self._job.scenario.federation.codec)
        told = {str(client): count for client, count in sorted(rows.items())}
        self._tell(Tapped(rows=told, activation_bytes_per_image=nbytes))
        try:
            auxiliary = SharedAuxiliary.of_record(shared, self._job.shape, self._job.classes)
        except SplitfedError as error:
            self._tell(Unjudged(what="the attacker's own images", client=None, reason=str(error)))
            return
        self._baseline("mean_image", auxiliary.mean.expand_as(auxiliary.by_class))
        self._baseline("class_mean", auxiliary.by_class)
        self._judge(auxiliary, observed)

    def _attacked(self, attack: str, content: bytes) -> None:
        try:
            made = parse_reconstruction(BytesIO(content), attack, self._job.shape)
        except SplitfedError as error:
            self._tell(Unjudged(what=attack, client=None, reason=str(error)))
            return
        parts = {int(client): _of_client(made, int(client)) for client in np.unique(made.index[:, 1])}
        self._score(attack, {client: made_by_attack(part) for client, part in parts.items()}, baseline=False)

    def _baseline(self, name: str, by_class: torch.Tensor) -> None:
        guessed = arrays_of({BY_CLASS: by_class.numpy()})
        self._score(name, dict.fromkeys(self._images, guessed), baseline=True)

    def _score(self, what: str, made: Mapping[int, ArrayRecord], *, baseline: bool) -> None:
        questions = {client: RecordDict({MADE: arrays}) for client, arrays in made.items()}
        for client, reply in self._ask(SCORE, what, questions).items():
            asked = self._images[client] if baseline else made[client][INDEX].shape[0]
            try:
                self._tell(scored(reply.content, what, client, asked, self._images[client], baseline=baseline))
            except BadAnswer as error:
                self._tell(Unjudged(what=what, client=client, reason=str(error)))

    def _judge(self, auxiliary: SharedAuxiliary, observed: Sequence[Observation]) -> None:
        assert self._result is not None
        images = [self._images.get(client, 0) for client in range(self._job.scenario.federation.clients)]
        known = json.dumps({"measures": {str(c): dict(m) for c, m in self._result.measures.items()}, "images": images})
        arrays = to_arrays(self._result.front)
        questions = {}
        for client in self._images:
            own = [each for each in observed if each.client == client]
            batches = {each.step: each.activation for each in [*own[:CHECKED_BATCHES], *ends(own)]}
            questions[client] = auxiliary.to_record()
            questions[client].config_records[KNOWN][MEASURES] = known
            questions[client]["arrays"] = arrays
            questions[client][TAPPED] = arrays_of({str(step): batch.numpy() for step, batch in batches.items()})
        for client, reply in self._ask(JUDGE, "the audit", questions).items():
            try:
                self._tell(judged(reply.content, client, self._job.classes))
            except BadAnswer as error:
                self._tell(Unjudged(what="the audit", client=client, reason=str(error)))

    def _ask(self, kind: str, what: str, questions: Mapping[int, RecordDict]) -> dict[int, Message]:
        """The clients' answers, of those that answer; the lab is told of the others."""
        messages = []
        for client, content in questions.items():
            node = self._roster.node_of(client)
            if node is None or client not in self._images:
                self._tell(Unjudged(what=what, client=client, reason="there is no such client"))
                continue
            content["config"] = self._job.config_of(client, self._config)
            messages.append(Message(content, node, kind))
        nodes = ClientsGrid(self._grid, [message.metadata.dst_node_id for message in messages])
        deadline_s = self._job.scenario.federation.round_deadline_s
        try:
            attendance = ask(nodes, messages, deadline_s, self._roster.client_of)
        except Exception as error:  # the SuperLink may be away for a while
            logger.warning("%s: the clients could not be asked: %s", self._job.run, error)
            self._tell(Unjudged(what=what, client=None, reason="the clients could not be asked"))
            return {}
        for client, loss in sorted(attendance.lost.items()):
            self._tell(Unjudged(what=what, client=client, reason=loss.reason))
        return attendance.replies

    def _observed(self) -> list[Observation]:
        """What the attacker says that it tapped of the audit, by client and step."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._files.items():
                own = name.removeprefix(OBSERVATIONS)
                if name.startswith(OBSERVATIONS) and own == Path(own).name:
                    write_whole(Path(folder) / own, content)
            number = self._job.scenario.federation.rounds + 1
            try:
                seen = list(read_observations(Path(folder), round=number, phase=Phase.AUDIT))
            except SplitfedError as error:
                logger.warning("%s: what was tapped cannot be read: %s", self._job.run, error)
                return []
        width = (self._job.released,)
        return [o for o in seen if o.client in self._images and o.activation.shape[1:] == width]


def _of_client(made: Reconstruction, client: int) -> Reconstruction:
    own = made.index[:, 1] == client
    return Reconstruction(made.index[own], made.images[torch.from_numpy(own)])
