"""An observer of the relay that is there before the tap is."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitfed.wire.relay import Direction
    from splitfed.wire.tap import Tap


class LateObserver:
    """Stands in for the tap while its libraries are imported; what arrives meanwhile waits in the relay's backlog.

    A context manager: where it is left before there was a tap, nothing waits for one any more.
    """

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._tap: Tap | None = None

    def __enter__(self) -> LateObserver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready.set()

    def wake(self, tap: Tap) -> Tap:
        """Hand everything to `tap` from now on."""
        self._tap = tap
        self._ready.set()
        return tap

    def received(self, connection: int, direction: Direction, data: bytes) -> None:
        """A copy of bytes that were forwarded."""
        if tap := self._when_ready():
            tap.received(connection, direction, data)

    def dropped(self, connection: int) -> None:
        """The copy of this connection is no longer whole."""
        if tap := self._when_ready():
            tap.dropped(connection)

    def closed(self, connection: int) -> None:
        """The connection ended."""
        if tap := self._when_ready():
            tap.closed(connection)

    def _when_ready(self) -> Tap | None:
        self._ready.wait()
        return self._tap
