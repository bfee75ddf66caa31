"""Who watches a federation."""

from __future__ import annotations

from typing import Protocol

from splitfed.federation.backs import PhaseScore
from splitfed.models.front import Front
from splitfed.wire.session import SessionHost
from splitfed.wire.traffic import ServerTraffic


class Watcher(Protocol):
    """Who watches a federation: the lab, or a deployment's log."""

    def hosted(self, host: SessionHost) -> SessionHost:
        """What clients are served by: this host, or one around it that keeps what it sees."""

    def serving(self, server_address: str, traffic: ServerTraffic) -> None:
        """The split service listens there and counts so, and no client has been asked to come yet."""

    def routes(self) -> list[str]:
        """The addresses that clients try in turn; a tap's relay may come before the server itself."""

    def prepared(self, done: int, total: int) -> None:
        """A round of unsupervised preparation is over."""

    def front_sent(self, round_number: int, front: Front) -> None:
        """This front goes to every participant at the start of this round."""

    def client_lost(self, round_number: int, client: int, reason: str) -> None:
        """A client took no part in this round, or not in all of it; 0 is the preparation, rounds + 1 the audit."""

    def round_finished(self, round_number: int, train: PhaseScore, test: PhaseScore) -> None:
        """Fronts and backs were averaged, and the model tested."""
