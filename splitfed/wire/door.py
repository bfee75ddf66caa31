"""Lets in who proves to be a client, with one stream each."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from splitfed.errors import Refused
from splitfed.wire.proof import Claim, proven
from splitfed.wire.tls import check_bearer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Visit(Protocol):
    """A stream that wants in; gRPC's context is one."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """What its client sent ahead of all messages."""

    def auth_context(self) -> Mapping[str, Any]:
        """What its certificate says, if it showed one."""

    def cancel(self) -> None:
        """End it, from any thread."""


REMEMBERED = 32
"""Streams of a client that others of its own have taken the place of; more than it opens in a round."""


class _Seat(NamedTuple):
    visit: Visit
    number: int
    stream: bytes


class Door:
    """Keeps the places of a server.

    A place belongs to a client. Its newer stream takes the place over at once, and the older one is canceled: it
    may hang at a peer that is frozen. Nothing is kept of a stream that proves nothing.

    Args:
        secret: what clients' tokens are derived from.
        places: how many clients may have a stream at once.
    """

    def __init__(self, secret: str, places: int) -> None:
        if not secret:
            raise ValueError("an empty secret would let everyone in")
        self._secret = secret
        self._places = places
        self._lock = threading.Lock()
        self._taken: dict[int, _Seat] = {}
        self._highest: dict[int, int] = {}  # of clients that have proven who they are, so there are few
        self._displaced: dict[int, deque[bytes]] = {}
        self._superseded: dict[int, set[bytes]] = {}

    @contextmanager
    def admitted(self, visit: Visit) -> Iterator[Claim]:
        """Hold a place for this stream; what it claims.

        Raises:
            Refused: it proves nothing, its certificate is another party's, its proof was used before, another stream of
                its client has taken its place, or all places are taken.
        """
        claim = proven(visit.invocation_metadata(), self._secret)
        check_bearer(visit.auth_context(), claim.client)
        place = _Seat(visit, claim.number, claim.stream)
        older = self._enter(claim, place)
        try:
            if older is not None:
                older.visit.cancel()
            yield claim
        finally:
            self._leave(claim, place)

    def _enter(self, claim: Claim, place: _Seat) -> _Seat | None:
        """Take the client's place; who had it until now."""
        with self._lock:
            highest = self._highest.get(claim.client, 0)
            if claim.number <= highest:
                raise Refused(
                    "REPLAYED",
                    f"client-{claim.client}: its proof has the number {claim.number}, and I have seen "
                    f"{highest}; was its clock set back?",
                )
            self._highest[claim.client] = claim.number  # also when there is no place: it was used
            # what its client was given up at, say, and goes on with all the same
            if claim.stream in self._superseded.get(claim.client, ()):
                raise Refused("SUPERSEDED", f"client-{claim.client}: another stream of yours has taken the place")
            older = self._taken.get(claim.client)
            if older is None and len(self._taken) >= self._places:
                raise Refused("TOO_MANY_STREAMS", f"all {self._places} streams are in use; try again later")
            self._taken[claim.client] = place
            if older is not None and older.stream != claim.stream:
                self._displaced.setdefault(claim.client, deque(maxlen=REMEMBERED)).append(older.stream)
            return older

    def accepted(self, claim: Claim) -> None:
        """This stream's Hello was accepted: those that it has displaced do not come back.

        Not before, or whoever has a client's token would shut it out with a Hello that is then refused.
        """
        with self._lock:
            self._superseded[claim.client] = {*self._displaced.get(claim.client, ())} - {claim.stream}

    def _leave(self, claim: Claim, place: _Seat) -> None:
        with self._lock:
            if self._taken.get(claim.client) is place:
                del self._taken[claim.client]
