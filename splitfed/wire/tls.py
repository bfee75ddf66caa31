"""TLS on the wire, with certificates on both sides: who may speak to whom, and how each knows the other.

All parties trust one authority and no other. A certificate names its party by role: `SERVER`, or `client_name`. A
client verifies that whoever answers is called `SERVER`, whatever the address is that it has dialed: a relay may stand
in front, and a server may move. That is sound because the authority is this federation's own. It signs the name
`SERVER` for the server alone, and for nothing but serving, so that the name says who it must be, and the address only
where bytes go. Elsewhere names of hosts stand in for that, since a public authority knows nothing else of those for
whom it signs.

A client shows its certificate too. It has to name the client whose number and token its stream proves (`check_bearer`):
a token that was stolen is of no use without the key of its owner.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from splitfed.errors import Refused, UserError
from splitfed.files import cannot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SERVER = "server"
"""The name in the server's certificate, under which clients verify it."""
CA_FILE, CERTIFICATE_FILE, KEY_FILE = "ca.pem", "certificate.pem", "key.pem"
"""What the files of a party are called in a folder of its own."""

_SHOWN = "x509_pem_cert"
_NAMES = "x509_subject_alternative_name"


def client_name(number: int) -> str:
    """The name in the certificate of the client of this number.

    >>> client_name(2)
    'client-2'
    """
    return f"client-{number}"


@dataclass(frozen=True)
class TlsIdentity:
    """What one party needs, in PEM: whom it trusts, who it is, and the key that proves it.

    Attributes:
        ca: the certificate of the authority that signs for all parties.
        certificate: the party's own; where authorities stand between, theirs follow it.
        key: of the first of these, not encrypted.
    """

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a server, which lets in nobody without a certificate of the same authority."""
        own = [(self.key, self.certificate)]
        return grpc.ssl_server_credentials(own, root_certificates=self.ca, require_client_auth=True)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a client, which shows its certificate, and trusts this authority and no other."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)


@dataclass(frozen=True)
class TlsFiles:
    """The same in three files, read and checked when credentials are asked for: a mistake is told before anybody dials.

    Credentials hold what was in the files then: a certificate that is renewed counts from the next start on.

    Attributes:
        ca: the certificate of the authority, in PEM.
        certificate: the party's own, in PEM; where authorities stand between, theirs follow it.
        key: of that certificate, in PEM, without a password, for its owner's eyes alone.
    """

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> TlsFiles:
        """The files of a party as ``splitfed certs`` calls them."""
        return cls(folder / CA_FILE, folder / CERTIFICATE_FILE, folder / KEY_FILE)

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a `wire.service.SplitServer`: clients have to show a certificate of the same authority.

        Raises:
            UserError: a file is missing, no PEM, expired, or open to others; the key is of another certificate; or the
                certificate is of another authority, not for serving, or does not name `SERVER`.
        """
        return self._checked(serves=True).server_credentials()

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a `wire.link.GrpcLink`, which verifies the server under the name `SERVER`.

        Raises:
            UserError: as above; a client's certificate has to be for clients.
        """
        return self._checked(serves=False).channel_credentials()

    def _checked(self, *, serves: bool) -> TlsIdentity:
        from splitfed.wire.tls_checks import PemFile, check_files

        ca, certificate = PemFile(self.ca, _read(self.ca)), PemFile(self.certificate, _read(self.certificate))
        key = PemFile(self.key, _read_secret(self.key))
        check_files(ca, certificate, key, name=SERVER if serves else None)
        return TlsIdentity(ca.content, certificate.content, key.content)


def check_bearer(peer: Mapping[str, Any], client: int) -> None:
    """Refuse a stream that proves to be this client, and comes with the certificate of another party.

    Args:
        peer: what gRPC's context says of who is at the other end (``auth_context``): lists of bytes by name. In clear
            it says nothing, as under TLS where the server asks for no certificate: there the token alone counts.
        client: the number that was proven.

    Raises:
        Refused: BAD_TOKEN.
    """
    if _SHOWN not in peer:
        return
    names = [name.decode("utf-8", "replace") for name in peer.get(_NAMES, ())]
    if client_name(client) not in names:
        shown = ", ".join(names) or "nobody"
        raise Refused("BAD_TOKEN", f"client-{client}: its token came with the certificate of {shown}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error, elsewhere="name another file") from error


def _read_secret(path: Path) -> bytes:
    """A key, refused where others than its owner may read it: it would prove nothing. Keys that the system's
    administrator hands out may be read by a group, as servers of databases have it."""
    content = _read(path)
    found = path.stat()
    open_to = stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    if found.st_uid == 0 and os.getuid() != 0:
        open_to &= ~stat.S_IRGRP
    if open_to:
        raise UserError(f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}")
    return content
