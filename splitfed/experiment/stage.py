"""Where a cell takes place: the federation, with the attacker on its wire, up to the end of the attack."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from splitfed.attacker.protocol import Message
from splitfed.experiment.context import CellContext
from splitfed.experiment.mounted_attack import MountedAttack
from splitfed.experiment.verdict import victim_fingerprint
from splitfed.experiment.watcher import CellWatcher
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.federation.outcome import FederationResult
from splitfed.roles.lab_protocol import Verdict
from splitfed.runners import local_clients
from splitfed.runners.watched import TrainingWatcher
from splitfed.types import Images


class Train(Protocol):
    """Trains a cell: where its clients run is up to it."""

    def __call__(
        self, job: Job, clients: Sequence[ClientImages], watcher: TrainingWatcher, *, checkpoint: Path
    ) -> FederationResult:
        """What came of it; errors are those of `Federation.run`."""


class Played(NamedTuple):
    """A cell whose attack is over.

    Attributes:
        result: what was trained.
        before: the victim's fingerprint before the attack on the final front.
        attack_s: seconds that this attack took.
        auxiliary: what the attacker learned from, where it brought images of its own; else the lab gave them.
    """

    result: FederationResult
    before: str
    attack_s: float
    auxiliary: Images | None = None


Hear = Callable[[Message | Verdict], None]
"""Gets what the attacker says; and what the clients say, where they hold the truth."""
Stage = Callable[[CellContext, Hear], Played]
"""Plays one cell; all that the attacker has to say was heard when it returns."""


@dataclass(frozen=True)
class OnThisMachine:
    """The lab mounts the attacker itself, and holds the server.

    Attributes:
        train: where the clients run.
    """

    train: Train = local_clients.train

    def __call__(self, context: CellContext, hear: Hear) -> Played:
        """Play one cell."""
        with MountedAttack(context, hear) as attack:
            watcher = CellWatcher(context, attack)
            result = self.train(context.job, context.clients, watcher, checkpoint=context.checkpoint)
            before = victim_fingerprint(result)
            started = time.monotonic()
            attack.finish(sum(result.audited.values()))
            return Played(result, before, time.monotonic() - started)
