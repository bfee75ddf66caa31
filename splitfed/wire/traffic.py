"""Where frames and bytes are counted: by a client for each of its streams, and by the server for all of them.

What is reported as bytes on the wire per image is the clients' count: `StreamTraffic`, summed by
`federation.server_app` over the clients' replies.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass
class StreamTraffic:
    """What one stream of a client has carried, in bytes of whole frames, those sent again included."""

    sent_bytes: int = 0
    received_bytes: int = 0


@dataclass
class ClientTraffic:
    """What all streams of one client have come to at the server: whole frames, and bytes of these."""

    frames: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass
class ServerTraffic:
    """Numbers of one server; bytes are those of whole frames. Each stream ends as finished, refused or broken.

    Attributes:
        streams: opened, those of strangers included.
        finished: streams that said `Done` in time and with the right numbers.
        refused: refused streams and frames by reason, a name of ``Refusal.Reason`` in split.proto.
        broken: streams that ended without `Done` or a refusal: a dead client, a dead relay, a deadline, a frame
            so large that gRPC itself cut it off, a stream that a newer one of its client took the place of.
        clients: the same numbers by client, of those that have proven who they are.
    """

    streams: int = 0
    frames: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    finished: int = 0
    broken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    clients: dict[int, ClientTraffic] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def count(self, **more: int) -> None:
        """Add to the numbers of these names."""
        with self._lock:
            _add(self, more)

    def count_of(self, client: int, **more: int) -> None:
        """Add to the numbers of these names, and to those of this client."""
        with self._lock:
            _add(self, more)
            _add(self.clients.setdefault(client, ClientTraffic()), more)

    def by_client(self) -> dict[int, ClientTraffic]:
        """What each client has come to now, by its number."""
        with self._lock:
            return {number: replace(own) for number, own in sorted(self.clients.items())}

    def refuse(self, reason: str) -> None:
        """Count a refusal."""
        with self._lock:
            self.refused[reason] += 1


def _add(numbers: ServerTraffic | ClientTraffic, more: Mapping[str, int]) -> None:
    for name, value in more.items():
        setattr(numbers, name, getattr(numbers, name) + value)
