"""How a client proves who it is: with a token of its own, which never travels on the wire.

A proof is an HMAC over what the stream claims, in the metadata of the call, so that a server reads no message of a
stranger. It names one stream and a number that only rises, so that it opens that stream once.
"""

from __future__ import annotations

import hmac
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from splitfed.errors import Refused
from splitfed.wire._pb import split_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

PROOF_KEY = "splitfed-proof-bin"

_MAX_STREAM_BYTES = 64

Metadata = tuple[tuple[str, bytes], ...]


class Claim(NamedTuple):
    """What a stream says of itself before its Hello; see `Claim` in split.proto."""

    run: str
    client: int
    stream: bytes
    number: int


def client_token(secret: str, client: int) -> str:
    """The token of one client, derived from the run's secret; it tells nothing of that, nor of other tokens."""
    return hmac.digest(secret.encode(), b"splitfed client %d" % client, "sha256").hex()


class Numbers:
    """Numbers that rise from call to call, and by the clock from process to process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """A number above all before it."""
        with self._lock:
            self._last = max(time.time_ns(), self._last + 1)
            return self._last


def prove(claim: Claim, token: str) -> Metadata:
    """The metadata that shows ``claim`` to come from the holder of ``token``."""
    raw = pb.Claim(**claim._asdict()).SerializeToString()
    proof = pb.Proof(claim=raw, mac=_mac(raw, token))
    return ((PROOF_KEY, proof.SerializeToString()),)


def proven(metadata: Iterable[tuple[str, str | bytes]], secret: str) -> Claim:
    """What a stream claims, if it proves it.

    Raises:
        Refused: BAD_TOKEN; there is no proof, or another token made it.
    """
    raw = dict(metadata).get(PROOF_KEY)
    if not isinstance(raw, bytes):
        raise Refused("BAD_TOKEN", f"a stream without a proof: want {PROOF_KEY} in its metadata")
    proof, message = pb.Proof(), pb.Claim()
    try:
        proof.ParseFromString(raw)
        message.ParseFromString(proof.claim)
    except DecodeError:
        raise Refused("BAD_TOKEN", f"{len(raw)} bytes in {PROOF_KEY} are no proof") from None
    if not hmac.compare_digest(proof.mac, _mac(proof.claim, client_token(secret, message.client))):
        raise Refused("BAD_TOKEN", f"client-{message.client}: its proof was not made with the token of this client")
    if not 0 < len(message.stream) <= _MAX_STREAM_BYTES:
        raise Refused("BAD_TOKEN", f"client-{message.client}: want a stream named in 1 to {_MAX_STREAM_BYTES} bytes")
    return Claim(message.run, message.client, message.stream, message.number)


def _mac(claim: bytes, token: str) -> bytes:
    return hmac.digest(token.encode(), claim, "sha256")
