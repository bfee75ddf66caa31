"""How a node takes part in a federation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from splitfed.wire.certificate_folders import NODE_KEY_FILE
from splitfed.wire.tls import CA_FILE


@dataclass(frozen=True)
class Membership:
    """How a node takes part.

    Attributes:
        superlink: ``host:port`` of the SuperLink.
        ca: the certificate that its own is verified with; without, the link is in clear.
        key: an EC private key in OpenSSH's form, of which the SuperLink knows the public half; without, the node
            makes one for itself and registers it.
        number: of the client; -1 for other roles, and where the server is to say.
    """

    superlink: str
    ca: Path | None = None
    key: Path | None = None
    number: int = -1

    @classmethod
    def of(cls, superlink: str, certs: Path | None, number: int = -1) -> Membership:
        """With a party's folder of certificates and keys (`wire.certificate_folders`), or in clear."""
        if certs is None:
            return cls(superlink, number=number)
        key = certs / NODE_KEY_FILE
        return cls(superlink, certs / CA_FILE, key if key.exists() else None, number)
