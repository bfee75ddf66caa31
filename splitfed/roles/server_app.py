"""The ServerApp of a deployment: it trains what the lab orders, and tells it how it goes.

Flower's SuperExec starts a process for it, with the server's settings in the file that `SETTINGS_VARIABLE` names.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from flwr.app import ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from pydantic import ValidationError

from splitfed.errors import SplitfedError, TrainingFailed, UserError
from splitfed.federation.backs import PhaseScore
from splitfed.federation.client import StepReport
from splitfed.federation.outcome import FederationResult
from splitfed.federation.roster import JoinedNodes
from splitfed.federation.server_app import Federation
from splitfed.federation.wire_meter import WireMeter
from splitfed.files import file_name, make_private
from splitfed.models.front import Front
from splitfed.records import events
from splitfed.records.events import EVENTS, Event
from splitfed.roles.agreement import agreed
from splitfed.roles.attacker_line import AttackerLine
from splitfed.roles.attacker_protocol import ATTACKER
from splitfed.roles.clients_truth import ClientsTruth
from splitfed.roles.config import ServerOptions, load_settings
from splitfed.roles.lab_line import LabLine
from splitfed.roles.lab_protocol import LAB, RESULT, Agreed, Failed, Happened, Over, Overheard, Trained
from splitfed.roles.order import RUN_CONFIG_KEY, Order
from splitfed.roles.server import SETTINGS_VARIABLE
from splitfed.roles.step_teller import StepTeller
from splitfed.roles.trained import to_bytes
from splitfed.wire.session import SessionHost
from splitfed.wire.traffic import ServerTraffic

logger = logging.getLogger(__name__)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train one cell.

    Raises:
        UserError: no settings, or an order that cannot be read.
        SplitfedError: it could not be trained.
    """
    path = os.environ.get(SETTINGS_VARIABLE)
    if path is None:
        raise UserError(f"{SETTINGS_VARIABLE} is not set: start the server's side with `splitfed server`")
    torch.set_num_threads(1)  # sessions are threads of their own; another number sums in another order
    settings = load_settings(ServerOptions, Path(path))
    try:
        order = Order.model_validate_json(str(context.run_config[RUN_CONFIG_KEY]))
    except (KeyError, ValidationError) as error:
        raise UserError(f"this run holds no order of a cell ({error}): start it with splitfed scenario") from None
    Deployed(settings, order, grid).play()


class Deployed:
    """One cell on this server (a `federation.server_app.Watcher`)."""

    def __init__(self, settings: ServerOptions, order: Order, grid: Grid) -> None:
        self._settings = settings
        self._grid = grid
        self._job = order.job(secrets.token_hex(16))
        self._config = ConfigRecord({})
        self._roster = JoinedNodes(
            self._job.scenario.federation.clients,
            patience_s=settings.patience_s,
            notice=self._notice,
            roles={LAB: order.key, ATTACKER: ""},
        )
        self._lab = LabLine(grid, lambda: self._roster.others.get(LAB), order.key)
        self._attacker = AttackerLine(grid, lambda: self._roster.others.get(ATTACKER), self._overhear, self._notice)
        self._checkpoint = _checkpoint(settings.state, order)
        self._truth: ClientsTruth | None = None

    def play(self) -> None:
        """Train, have the attack run to its end, and see to it that the lab hears of it.

        Raises:
            SplitfedError: there is no result.
        """
        try:
            if self._job.scenario.truth == "clients":
                self._agree()
            result = self._federation().run(self._grid)
            self._lab.tell(Trained(), {RESULT: to_bytes(result)})
            if self._truth is not None:
                self._truth.begin(result)
            self._attack(result)
            if self._truth is not None:
                self._truth.conclude(self._attacker.shared())
        except SplitfedError as error:
            self._lab.tell(Failed(reason=str(error), by_settings=isinstance(error, TrainingFailed)))
            raise
        finally:
            self._attacker.close()
            self._lab.tell(Over())
            if not self._lab.close():
                logger.warning("the lab did not hear of it to the end; ordered again, the cell goes on from here")

    def _agree(self) -> None:
        """Learn from the clients what they hold.

        Raises:
            SplitfedError: they hold what does not fit together.
        """
        self._roster.refresh(self._grid, self._job.to_config([]))
        shape, classes = agreed(self._roster.said)
        self._job = replace(self._job, shape=shape, classes=classes)
        self._lab.tell(Agreed(shape=(shape.channels, shape.height, shape.width), classes=classes))

    def _check_seal(self) -> None:
        """Whether the wire is as the lab believes it to be: what the attacker cannot see is no merit of a defense.

        Raises:
            TrainingFailed: it is not.
        """
        sealed, wanted = self._settings.certs is not None, self._job.scenario.federation.tls
        if sealed != wanted:
            is_, said = ("under TLS", "false") if sealed else ("in clear", "true")
            raise TrainingFailed(f"this server's wire is {is_}, and the scenario says federation.tls = {said}: set it")

    def _federation(self) -> Federation:
        tls = self._settings.tls()
        return Federation(
            self._job,
            self,
            checkpoint=self._checkpoint,
            roster=self._roster,
            address=self._settings.listen,
            credentials=None if tls is None else tls.server_credentials(),
        )

    def _attack(self, result: FederationResult) -> None:
        rounds = self._job.scenario.federation.rounds
        rows = sum(result.audited.values())
        self._attacker.finish(rounds + 1, rows, self._job.scenario.attacker.deadline_s)

    def hosted(self, host: SessionHost) -> SessionHost:
        """The same host, of which each step is told."""
        epochs = self._job.scenario.federation.local_epochs
        return StepTeller(host, self._stepped, lambda client: self._roster.images.get(client, 0), epochs)

    def serving(self, server_address: str, traffic: ServerTraffic) -> None:
        """The split service listens."""
        self._meter = WireMeter(self._cell, traffic, sealed=self._job.scenario.federation.tls, tell=self._tell)
        logger.info("%s: serving on %s", self._job.run, server_address)

    def routes(self) -> list[str]:
        """What clients are told to dial."""
        addresses = list(self._settings.addresses or (self._settings.listen,))
        self._config = self._job.to_config(addresses)
        if self._job.scenario.truth == "clients":
            self._truth = ClientsTruth(self._grid, self._roster, self._job, self._config, self._lab.tell)
        return addresses

    def prepared(self, done: int, total: int) -> None:
        """A round of unsupervised preparation is over."""
        self._tell(events.PrepareProgress(cell=self._cell, what="first dictionary", done=done, total=total))

    def front_sent(self, round_number: int, front: Front) -> None:
        """What every participant gets, the attacker gets."""
        self._meter.begin(round_number)
        self._attacker.front(self._config, round_number, front)

    def client_lost(self, round_number: int, client: int, reason: str) -> None:
        """A client took no part in this round, or not in all of it."""
        self._meter.lose(client)
        logger.warning("%s round %d: client-%d lost: %s", self._job.run, round_number, client, reason)
        self._tell(events.ClientLost(cell=self._cell, round=round_number, client=client, reason=reason))

    def round_finished(self, round_number: int, train: PhaseScore, test: PhaseScore) -> None:
        """Fronts and backs were averaged, and the model tested."""
        rounds = self._job.scenario.federation.rounds
        logger.info(
            "%s round %d of %d: loss %.3f, accuracy %.3f",
            self._job.run,
            round_number,
            rounds,
            train.loss,
            test.accuracy,
        )
        self._tell(
            events.RoundFinished(
                cell=self._cell, round=round_number, rounds=rounds, loss=train.loss, accuracy=test.accuracy
            )
        )
        self._meter.say()

    def _stepped(self, report: StepReport) -> None:
        self._tell(events.ClientProgress(cell=self._cell, **vars(report)))
        self._meter.tick()

    def _overhear(self, line: str, files: Mapping[str, bytes]) -> None:
        if self._truth is not None:
            line, files = self._truth.overhear(line, files), {}
        self._lab.tell(Overheard(message=line), files)

    def _notice(self, text: str) -> None:
        logger.warning("%s: %s", self._job.run, text)
        self._tell(events.Notice(message=f"{self._cell}: {text}"))

    def _tell(self, event: Event) -> None:
        self._lab.tell(Happened(event=EVENTS.write(event).decode()))

    @property
    def _cell(self) -> str:
        return self._job.cell.name


def _checkpoint(state: Path, order: Order) -> Path:
    """Where this cell's last finished round is kept: only who knows the order's key goes on from it."""
    make_private(state)
    digest = hashlib.blake2b(order.key.encode(), digest_size=8).hexdigest()
    return state / f"{file_name(f'{order.run}-{digest}')}.pt"
