"""Whether the files of a party fit together, said before a handshake fails with less to say."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from splitfed.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


class PemFile(NamedTuple):
    """A file, and what was in it."""

    path: Path
    content: bytes


def check_files(ca: PemFile, certificate: PemFile, key: PemFile, *, name: str | None) -> None:
    """Hold what was found in the files of a party against each other and against the clock.

    Args:
        ca: the authority's certificate.
        certificate: the party's, with those between.
        key: the party's.
        name: what the certificate has to name, and serve under; None for a client's.

    Raises:
        UserError: the file, what is wrong with it, and the way out.
    """
    authorities, chain = _certificates(*ca), _certificates(*certificate)
    for file, certificates in ((ca, authorities), (certificate, chain)):
        for each in certificates:
            _check_time(file.path, each)
    if _public(*key) != _raw(chain[0].public_key()):
        raise UserError(f"{key.path} is not the key of {certificate.path}: name the two files of one party")
    if not any(_issued(chain[-1], authority) for authority in authorities):
        raise UserError(f"{certificate.path} is not signed by {ca.path}: all parties need the same authority")
    _check_purpose(certificate.path, chain[0], name)


def _certificates(path: Path, content: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise UserError(f"{path} holds no certificate in PEM: want a file with -----BEGIN CERTIFICATE-----") from None


def _public(path: Path, content: bytes) -> bytes:
    """The public half of a private key."""
    try:
        return _raw(load_pem_private_key(content, password=None).public_key())
    except TypeError:
        raise UserError(f"{path} is encrypted: nobody could give its password when a server starts; want it as it is, "
                        "in a file for its owner alone") from None  # fmt: skip
    except ValueError:
        raise UserError(f"{path} holds no private key in PEM: want a file with -----BEGIN PRIVATE KEY-----") from None


def _raw(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_time(path: Path, certificate: x509.Certificate) -> None:
    now = datetime.datetime.now(datetime.UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        raise UserError(f"{path} has expired ({ends:%Y-%m-%d %H:%M} UTC): have a new certificate made")
    if now < begins:
        raise UserError(f"{path} is not valid before {begins:%Y-%m-%d %H:%M} UTC: is this machine's clock right?")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the one was signed by the other; an authority at the end of a chain stands for itself."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return certificate == authority
    return True


def _check_purpose(path: Path, certificate: x509.Certificate, name: str | None) -> None:
    wanted, what = (
        (ExtendedKeyUsageOID.CLIENT_AUTH, "for a client")
        if name is None
        else (ExtendedKeyUsageOID.SERVER_AUTH, "for a server")
    )
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        purposes = None  # good for all
    if purposes is not None and wanted not in purposes:
        raise UserError(f"{path} is not {what} (its extended key usage): name the certificate of another party")
    if name is not None and name not in (names := _names(certificate)):
        listed = ", ".join(names) or "nobody"
        raise UserError(f"{path} is of {listed}: clients want a server whose certificate names {name!r} (a DNS name)")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)
