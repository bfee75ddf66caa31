"""What training says of itself, as events; and what goes to every participant goes to the attacker too."""

from __future__ import annotations

from splitfed.experiment.context import CellContext
from splitfed.experiment.mounted_attack import MountedAttack
from splitfed.federation.backs import PhaseScore
from splitfed.federation.client import StepReport
from splitfed.federation.wire_meter import WireMeter
from splitfed.models.front import Front
from splitfed.records import events
from splitfed.wire.session import SessionHost
from splitfed.wire.traffic import ServerTraffic


class CellWatcher:
    """Watches the federation of one cell (`federation.server_app.Watcher`)."""

    def __init__(self, context: CellContext, attack: MountedAttack) -> None:
        self._cell = context.cell.name
        self._rounds = context.run.scenario.federation.rounds
        self._emit = context.run.bus.emit
        self._attack = attack
        self._addresses: list[str] = []
        self._sealed = context.run.scenario.federation.tls

    def hosted(self, host: SessionHost) -> SessionHost:
        """The attacker may be the server itself."""
        return self._attack.hosted(host)

    def serving(self, server_address: str, traffic: ServerTraffic) -> None:
        """The server listens: the attacker starts, on a wire before it."""
        self._meter = WireMeter(self._cell, traffic, sealed=self._sealed, tell=self._emit)
        relay_address = self._attack.start(server_address)
        self._addresses = [address for address in (relay_address, server_address) if address is not None]

    def routes(self) -> list[str]:
        """Through the attacker's relay; straight to the server where there is none or it does not answer."""
        return self._addresses

    def prepared(self, done: int, total: int) -> None:
        """A round of unsupervised preparation is over."""
        self._emit(events.PrepareProgress(cell=self._cell, what="first dictionary", done=done, total=total))

    def front_sent(self, round_number: int, front: Front) -> None:
        """What every participant gets, the attacker gets."""
        self._meter.begin(round_number)
        self._attack.publish_front(round_number, front)

    def client_lost(self, round_number: int, client: int, reason: str) -> None:
        """A client took no part in this round, or not in all of it."""
        self._meter.lose(client)
        self._emit(events.ClientLost(cell=self._cell, round=round_number, client=client, reason=reason))

    def round_finished(self, round_number: int, train: PhaseScore, test: PhaseScore) -> None:
        """Fronts and backs were averaged, and the model tested."""
        self._emit(
            events.RoundFinished(
                cell=self._cell, round=round_number, rounds=self._rounds, loss=train.loss, accuracy=test.accuracy
            )
        )
        self._meter.say()

    def stepped(self, report: StepReport) -> None:
        """A client has taken a step."""
        self._emit(events.ClientProgress(cell=self._cell, **vars(report)))
        self._meter.tick()
