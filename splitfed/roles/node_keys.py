"""The keys by which Flower knows a node, and what to say where it does not."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.supercore.primitives.asymmetric import generate_key_pairs

from splitfed.errors import UserError
from splitfed.files import cannot

KeyPair = tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]


def key_pair(path: Path | None) -> KeyPair:
    """The pair whose private half is in this file; without one, a new pair.

    Raises:
        UserError: it cannot be read, or is no such key.
    """
    if path is None:
        private, public = generate_key_pairs()
        return private, public
    try:
        key = load_ssh_private_key(read_file(path), None)
    except ValueError as error:
        raise UserError(f"{path} is no private key in OpenSSH's form ({error}): make one with splitfed certs") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UserError(f"{path} is no elliptic-curve key: Flower wants one, as splitfed certs makes it")
    return key, key.public_key()


def turned_away(superlink: str, key: Path | None) -> str:
    """What to say of a SuperLink that does not let this node in."""
    which = "this node has no key: give it one (certs = ...)" if key is None else f"it does not know the key {key}"
    return f"SuperLink {superlink} turns this node away: {which}, and register its public half with the SuperLink"


def read_file(path: Path) -> bytes:
    """The content of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot("read", path, error) from error
