"""The attacker of a deployment: the wire's relay, and a participant like any other."""

from __future__ import annotations

import logging
import shutil
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from splitfed.attacker.config import AttackerConfig
from splitfed.attacker.knowledge_files import auxiliary_classes
from splitfed.attacker.late_observer import LateObserver
from splitfed.attacker.mounted import config_of
from splitfed.attacker.protocol import AUXILIARY, Final
from splitfed.errors import SplitfedError, UserError
from splitfed.federation.arrays import load_arrays
from splitfed.federation.job import Job
from splitfed.federation.roster import introduction
from splitfed.files import as_open_as, file_name, make_private
from splitfed.roles.attacked_cell import AttackedCell
from splitfed.roles.attacker_protocol import AFTER, ATTACKER, END, FINAL, FRONT, REPORT, SHARE
from splitfed.roles.config import AttackerNodeOptions
from splitfed.roles.parcel import pack
from splitfed.types import Observation
from splitfed.wire.checks import StreamRules
from splitfed.wire.relay import Relay
from splitfed.wire.tap import Tap

logger = logging.getLogger(__name__)


class AttackerNode:
    """Relays for as long as it is entered; `app` answers the federation.

    Raises:
        UserError: `listen` cannot be listened on, or the attacker's own images do not fit.
    """

    def __init__(self, settings: AttackerNodeOptions) -> None:
        self._settings = settings
        self._cell: AttackedCell | None = None
        self._lock = threading.RLock()
        classes = auxiliary_classes(_folder_of(settings.auxiliary))
        self._tap = Tap(self._observe, notice=logger.warning, rules=StreamRules(classes=len(classes)))
        make_private(settings.state)
        self._private: AbstractContextManager[None] = as_open_as(settings.state)
        observer = LateObserver()
        observer.wake(self._tap)
        self._relay = Relay(settings.upstream, listen=settings.listen, observer=observer, notice=logger.warning)
        self.app = self._built()

    @property
    def address(self) -> str:
        """Where the relay listens."""
        return self._relay.address

    def __enter__(self) -> AttackerNode:
        self._private.__enter__()
        self._relay.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._relay.stop()
        self._private.__exit__(kind, error, trace)

    def _built(self) -> ClientApp:
        app = ClientApp()

        @app.query(_action("query.join"))
        def join(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
            return Message(introduction(ATTACKER), reply_to=message)

        @app.query(_action(FRONT))
        def front(message: Message, context: Context) -> Message:  # noqa: ARG001
            config = message.content.config_records["config"]
            job = Job.from_config(config)
            held = job.front()
            load_arrays(held, message.content.array_records["arrays"])
            with self._lock:
                self._at(job).learn_of_front(int(str(config["server-round"])), held)
            return Message(RecordDict({}), reply_to=message)

        @app.query(_action(FINAL))
        def final(message: Message, context: Context) -> Message:  # noqa: ARG001
            said = message.content.config_records["final"]
            self._current().finish(Final(round=int(str(said["round"])), rows=int(str(said["rows"]))))
            return Message(RecordDict({}), reply_to=message)

        @app.query(_action(REPORT))
        def report(message: Message, context: Context) -> Message:  # noqa: ARG001
            config = message.content.config_records.get("config", ConfigRecord())
            news = self._current().news(int(str(config[AFTER])))
            files = {name: content for _, own in news for name, content in own.items()}
            return Message(pack([line for line, _ in news], files), reply_to=message)

        @app.query(_action(SHARE))
        def share(message: Message, context: Context) -> Message:  # noqa: ARG001
            return Message(self._current().shared_auxiliary().to_record(), reply_to=message)

        @app.query(_action(END))
        def end(message: Message, context: Context) -> Message:  # noqa: ARG001
            self._end()
            return Message(RecordDict({}), reply_to=message)

        return app

    def _observe(self, observation: Observation) -> None:
        cell = self._cell
        if cell is not None and observation.run == cell.run:
            cell.observe(observation)

    def _at(self, job: Job) -> AttackedCell:
        """The cell of this job; a new one ends the one before."""
        if self._cell is not None and self._cell.run == job.run:
            return self._cell
        self._end()
        folder = (self._settings.state / file_name(job.run)).resolve()
        cell = AttackedCell(job, folder, self._config(job, folder), self._tap)
        self._cell = cell
        cell.start(self._save_auxiliary)
        return cell

    def _current(self) -> AttackedCell:
        """The cell that was begun.

        Raises:
            SplitfedError: there is none, as where this process was started anew in the midst of one.
        """
        if self._cell is None:
            raise SplitfedError("the attacker was started anew, and knows nothing of this cell")
        return self._cell

    def _end(self) -> None:
        with self._lock:
            cell, self._cell = self._cell, None
            if cell is not None:
                cell.stop()

    def _config(self, job: Job, folder: Path) -> AttackerConfig:
        """What the attacker of a cell is told: the mechanism, which everyone knows, and where its folders are."""
        return config_of(
            job.scenario,
            job.cell,
            job.shape,
            upstream=self._settings.upstream,
            knowledge=folder / "knowledge",
            observations=folder / "observations",
            out=folder / "attack",
        )

    def _save_auxiliary(self, folder: Path) -> None:
        shutil.copyfile(self._settings.auxiliary, folder / AUXILIARY)


def _action(kind: str) -> str:
    """The action of a Message's type: what stands behind its point."""
    return kind.partition(".")[2]


def _folder_of(path: Path) -> Path:
    """The folder in which the attacker's own images lie under their one name.

    Raises:
        UserError: they have another.
    """
    if path.name != AUXILIARY:
        raise UserError(f"auxiliary: {path}: want a file of the name {AUXILIARY}, as splitfed data deal writes it")
    return path.parent
