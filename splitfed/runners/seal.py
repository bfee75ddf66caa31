"""Certificates of a training on one machine: made for it in memory, and gone with it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import grpc

from splitfed.federation.job import Job
from splitfed.wire.tls import SERVER, TlsIdentity, client_name

LIFETIME = datetime.timedelta(days=30)
"""Longer than any cell trains."""


@dataclass(frozen=True)
class Seal:
    """What the server and each client need, from an authority whose key nobody has any more.

    Attributes:
        server: the server's.
        clients: one per client, by its number.
    """

    server: TlsIdentity
    clients: tuple[TlsIdentity, ...]

    @classmethod
    def new(cls, clients: int) -> Seal:
        """For so many clients."""
        from splitfed.wire.certificates import Authority  # most trainings need none

        authority = Authority.new(LIFETIME)
        own = (authority.issue(client_name(number), lifetime=LIFETIME) for number in range(clients))
        return cls(authority.issue(SERVER, lifetime=LIFETIME), tuple(own))

    def of_client(self, number: int) -> grpc.ChannelCredentials:
        """The credentials of this client."""
        return self.clients[number].channel_credentials()


def seal_of(job: Job) -> Seal | None:
    """A new one where the scenario asks for TLS."""
    federation = job.scenario.federation
    return Seal.new(federation.clients) if federation.tls else None
