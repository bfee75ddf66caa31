"""A cell that takes place in a federation of processes: the lab orders it, is told how it goes, and judges it."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from splitfed.attacker.knowledge_files import load_auxiliary
from splitfed.attacker.protocol import AUXILIARY, MESSAGES, Done
from splitfed.errors import DataError, SplitfedError, TrainingFailed
from splitfed.experiment.context import CellContext
from splitfed.experiment.stage import Hear, Played
from splitfed.experiment.verdict import victim_fingerprint
from splitfed.federation.outcome import FederationResult
from splitfed.files import write_whole
from splitfed.records import events
from splitfed.records.events import EVENTS, Event
from splitfed.roles import trained
from splitfed.roles.lab_node import LabNode, Told
from splitfed.roles.lab_protocol import (
    ATTACK,
    OBSERVATIONS,
    RESULT,
    Agreed,
    Failed,
    Happened,
    Judged,
    Over,
    Overheard,
    Scored,
    Tapped,
    Trained,
    Unjudged,
)
from splitfed.roles.membership import Membership
from splitfed.roles.order import Order
from splitfed.roles.superlink import SuperLink, SuperLinkAway
from splitfed.types import Images, ImageShape

PATIENCE_S = 1.0
"""Between two looks at whether the run is still on."""
AWAY_S = 180.0
"""How long a SuperLink may be away that was there when the cell was ordered."""
LAST_NEWS_S = 20.0
"""How long news may take to arrive of a run that is over."""
OF_TRAINING = (
    events.PrepareProgress,
    events.ClientProgress,
    events.ClientLost,
    events.RoundFinished,
    events.WireCounted,
    events.Notice,
)
"""What a server may say in the run's record; the rest is for the lab to say."""


class InFederation:
    """Has cells trained and attacked by a federation that runs already; a context manager, and a `Stage`.

    Args:
        membership: how the lab takes part.
    """

    def __init__(self, membership: Membership) -> None:
        self._superlink = SuperLink(membership.superlink, membership.ca)
        self._lab = LabNode(membership)

    def __enter__(self) -> InFederation:
        self._superlink.__enter__()
        self._lab.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lab.__exit__(kind, error, trace)
        self._superlink.__exit__(kind, error, trace)

    def __call__(self, context: CellContext, hear: Hear) -> Played:
        """Play one cell.

        Raises:
            TrainingFailed: it cannot be trained with these settings.
            SplitfedError: it could not be trained this time.
        """
        key = _key_of(context)
        self._lab.begin(key)
        run = self._superlink.order(Order.of(context.job, key))
        try:
            return _Following(context, hear).until_over(self._lab, self._superlink, run)
        finally:
            self._superlink.stop(run)


class _Following:
    """What the lab has heard of one cell."""

    def __init__(self, context: CellContext, hear: Hear) -> None:
        self._context = context
        self._hear = hear
        self._result: FederationResult | None = None
        self._trained_at = self._attacked_at = 0.0
        self._over = False
        self._failed: Failed | None = None

    def until_over(self, lab: LabNode, superlink: SuperLink, run: int) -> Played:
        """Listen until nothing more comes."""
        silent_since = time.monotonic()
        while not self._over:
            told = lab.next(PATIENCE_S)
            if told is not None:
                self._take(told)
                silent_since = time.monotonic()
                continue
            try:
                finished = superlink.standing(run).finished
            except SuperLinkAway:
                if time.monotonic() - silent_since > AWAY_S:
                    raise
                continue  # it may be started again
            if finished and time.monotonic() - silent_since > LAST_NEWS_S:
                break
        return self._played(superlink, run)

    def _played(self, superlink: SuperLink, run: int) -> Played:
        if self._failed is not None:
            kind = TrainingFailed if self._failed.by_settings else SplitfedError
            raise kind(self._failed.reason)
        if self._result is None:
            details = superlink.standing(run).details or "its log says why"
            raise SplitfedError(f"the server ended without a result: {details}. Go on with --resume")
        before = victim_fingerprint(self._result)
        attack_s = (self._attacked_at or time.monotonic()) - self._trained_at
        return Played(self._result, before, attack_s, self._auxiliary())

    def _auxiliary(self) -> Images | None:
        """What the attacker says it learned from; None where it says nothing, as one that ended before it was done."""
        folder = self._context.folder / "attack"
        if not (folder / AUXILIARY).is_file():
            return None
        try:
            return load_auxiliary(folder, self._context.job.shape)
        except DataError as error:
            self._context.notice(f"the attacker's own images cannot be read: {error}")
            return None

    def _take(self, told: Told) -> None:
        self._keep(told.files)
        match told.news:
            case Happened(event=line):
                self._happened(line)
            case Overheard(message=line):
                self._overheard(line)
            case Trained():
                self._result = trained.from_bytes(told.files.get(RESULT, b""), self._context.job)
                self._trained_at = time.monotonic()
            case Failed():
                self._failed = told.news
            case Over():
                self._over = True
            case Agreed():
                self._agree(told.news)
            case Tapped() | Scored() | Judged() | Unjudged():
                self._hear(told.news)

    def _agree(self, said: Agreed) -> None:
        """The lab, which holds no images, is told what the clients' are like."""
        job = self._context.job
        if not job.classes:
            job = replace(job, shape=ImageShape(*said.shape), classes=said.classes)
            self._context = replace(self._context, job=job)
        self._hear(said)

    def _happened(self, line: str) -> None:
        try:
            event: Event = EVENTS.read(line)
        except ValidationError:
            return
        if (
            isinstance(event, OF_TRAINING)
            and getattr(event, "cell", self._context.cell.name) == self._context.cell.name
        ):
            self._context.run.bus.emit(event)

    def _overheard(self, line: str) -> None:
        try:
            message = MESSAGES.read(line)
        except ValidationError:
            self._context.notice(f"the attacker said something unexpected: {line.strip()[:200]}")
            return
        if isinstance(message, Done):
            self._attacked_at = time.monotonic()
        self._hear(message)

    def _keep(self, files: dict[str, bytes]) -> None:
        """Put what the attacker made and tapped where it would lie had the lab mounted it itself; once, though each
        line of a Message comes with all its files. A lab that is to see no images keeps none of them."""
        if self._context.run.scenario.truth == "clients":
            return
        for name in list(files):
            for prefix, folder in (
                (OBSERVATIONS, self._context.observations),
                (ATTACK, self._context.folder / "attack"),
            ):
                own = name.removeprefix(prefix)
                if name.startswith(prefix) and own == Path(own).name and own not in ("", ".", ".."):
                    folder.mkdir(parents=True, exist_ok=True)
                    write_whole(folder / own, files.pop(name))


def _key_of(context: CellContext) -> str:
    """The cell's key, kept in the run so that a resumed one shows it again."""
    path = context.checkpoint.with_suffix(".key")
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, secrets.token_hex(16).encode())
        path.chmod(0o600)
    return path.read_text(encoding="utf-8")
