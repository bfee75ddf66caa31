"""How a node takes part in a federation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
