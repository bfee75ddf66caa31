"""A federation's own authority, and the certificates that it signs: for development, and for runs on one machine."""

from __future__ import annotations

import datetime
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from splitfed.errors import UserError
from splitfed.wire.tls import SERVER, TlsIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

SUPERLINK, ATTACKER, LAB = "superlink", "attacker", "lab"
"""Parties beside the server and its clients: Flower's own server, whoever relays, whoever holds an experiment."""
SERVING = (SERVER, SUPERLINK)
"""Parties that others dial. The relay is dialed too, but passes on bytes that it cannot read, and needs no name."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of the machine itself, in every certificate of a party that serves."""

_PARTY = re.compile(rf"{SERVER}|{SUPERLINK}|{ATTACKER}|{LAB}|client-(0|[1-9]\d*)")
_SKEW = datetime.timedelta(minutes=5)
"""How far the clocks of two machines may be apart."""


def check_party(name: str) -> str:
    """The same name, if it is a party's.

    Raises:
        UserError: it is not.
    """
    if not _PARTY.fullmatch(name):
        raise UserError(f"{name!r} is no party: want {SERVER}, {SUPERLINK}, {ATTACKER}, {LAB}, or client-0 and so on")
    return name


@dataclass(frozen=True)
class NodeKey:
    """A key pair by which Flower knows a SuperNode, in the format of OpenSSH: EC P-384.

    Attributes:
        private: for ``flower-supernode --auth-supernode-private-key``.
        public: for ``flwr supernode register``.
    """

    private: bytes
    public: bytes

    @classmethod
    def new(cls) -> NodeKey:
        """One that nobody else has."""
        key = ec.generate_private_key(ec.SECP384R1())
        return cls(
            key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
            key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n",
        )


class Authority:
    """Signs for the parties of one federation; whoever has its key can be each of them.

    Args:
        certificate: its own.
        key: of that certificate.
    """

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def new(cls, lifetime: datetime.timedelta) -> Authority:
        """An authority that nobody trusts yet, valid for so long from now on."""
        key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        # a number of its own: two authorities of one name would be taken for one another
        name = _named(f"splitfed authority {serial % 16**8:08x}")
        draft = (
            _draft(name, name, key, serial, lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        return cls(draft.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Authority:
        """What `certificate` and `key` gave.

        Raises:
            ValueError: they are no such thing, or do not fit.
        """
        found, secret = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, password=None)
        if not isinstance(secret, ec.EllipticCurvePrivateKey) or secret.public_key() != found.public_key():
            raise ValueError("the key is not that of the certificate")
        return cls(found, secret)

    @property
    def certificate(self) -> bytes:
        """For everybody, in PEM."""
        return self._certificate.public_bytes(Encoding.PEM)

    @property
    def key(self) -> bytes:
        """For nobody but who adds parties, in PEM."""
        return _pem(self._key)

    @property
    def ends(self) -> datetime.datetime:
        """When it expires, and with it all that it has signed."""
        return self._certificate.not_valid_after_utc

    def issue(self, party: str, hosts: Sequence[str] = (), *, lifetime: datetime.timedelta) -> TlsIdentity:
        """A certificate with a new key.

        It names the party by its role. One that serves is also called by its hosts and by those of the loopback, for
        whoever verifies the host that it dials, as Flower does; one that does not may be taken for nobody's server.

        Args:
            party: see `check_party`.
            hosts: DNS names and addresses of a party that serves.
            lifetime: from now on; no longer than the authority itself.

        Raises:
            UserError: no party or no host of that name, or the authority has expired.
        """
        serves = check_party(party) in SERVING
        names = dict.fromkeys([x509.DNSName(party), *map(_host, (*hosts, *LOOPBACK) if serves else ())])
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH
        if self.ends < datetime.datetime.now(datetime.UTC):
            raise UserError(f"the authority has expired ({self.ends:%Y-%m-%d %H:%M} UTC): have a new one made")
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificate.subject
        draft = (
            _draft(_named(party), issuer, key, x509.random_serial_number(), lifetime, latest=self.ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_issued_by(self._key), critical=False)
        )
        signed = draft.sign(self._key, hashes.SHA256())
        return TlsIdentity(ca=self.certificate, certificate=signed.public_bytes(Encoding.PEM), key=_pem(key))


def check_hosts(hosts: Sequence[str]) -> None:
    """Whether a certificate can name these hosts.

    Raises:
        UserError: a host is no name and no address, or it is a party's name: another party would pass for that.
    """
    for host in hosts:
        _host(host)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if _PARTY.fullmatch(host):
        raise UserError(f"host {host!r} is the name of a party, which its own certificate has and no other may have")
    if not re.fullmatch(r"(?=.{1,253}$)([a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?)(\.[a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?)*",
                        host.lower()):  # fmt: skip
        raise UserError(f"host {host!r}: want a DNS name or an address without a port, as lab.example.org or 10.0.0.5")
    return x509.DNSName(host.lower())


def _draft(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    lifetime: datetime.timedelta,
    latest: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    ends = now + lifetime if latest is None else min(now + lifetime, latest)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - _SKEW, ends)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _issued_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
