"""One log, followed for all pages that show it: read once, however many there are."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from splitfed.views.web.log_index import LogIndex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

POLL_S = 0.2
"""Between two looks at whether the log has grown."""
MOST_IDLE = 4
"""Logs whose index is kept though nobody looks at them."""

Value = TypeVar("Value")


class RunFeed:
    """The events of one run, for any number of streams on one event loop."""

    def __init__(self, log: Path) -> None:
        self.streams = 0
        self._index = LogIndex(log)
        self._lock = asyncio.Lock()
        self._grown = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None

    async def ask(self, question: Callable[[LogIndex], Value]) -> Value:
        """What this gives for the index, worked out in a thread, one question at a time."""
        async with self._lock:
            return await asyncio.to_thread(question, self._index)

    async def grown(self, beyond: int, timeout_s: float) -> bool:
        """Wait until there are other than so many events, or more that are none, for no longer than this."""
        if len(self._index) != beyond:
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._grown.wait(), timeout_s)
            return True
        return False

    def wake(self) -> None:
        """Have all who wait on `grown` go on; who comes later waits anew."""
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def look(self) -> None:
        """Take in what was written to the log by now."""
        if await self.ask(LogIndex.catch_up):
            self.wake()

    async def _follow(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[RunFeed]:
        """Follow the log as long as anybody is in here."""
        await self.ask(LogIndex.catch_up)
        self.streams += 1
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow())
        try:
            yield self
        finally:
            self.streams -= 1
            if not self.streams and self._follower is not None:
                self._follower.cancel()
                self._follower = None


class Feeds:
    """The logs that are looked at, by their path, and some that were."""

    def __init__(self) -> None:
        self._feeds: dict[Path, RunFeed] = {}

    def of(self, log: Path) -> RunFeed:
        """The feed of this log."""
        feed = self._feeds.pop(log, None) or RunFeed(log)
        self._feeds[log] = feed  # the latest comes last
        idle = [path for path, each in self._feeds.items() if not each.streams and path != log]
        for path in idle[: max(len(idle) - MOST_IDLE, 0)]:
            del self._feeds[path]
        return feed
