"""Server-sent events: what a run says, from where a page left off, to a page that reads it.

Each message carries the offset after its line as its id, by which a browser goes on after a lost connection. What is
old is sent thinned and many at a time (``history``), then comes ``live`` once, then each event as it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from splitfed.views.web.log_index import LogIndex, LogLine

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from splitfed.views.web.feed import RunFeed

HISTORY = 500
"""Events in one message of the history."""
KEEPALIVE_S = 10.0
LAST_S = 3.0
"""Once the server ends, for a page to be told what the run said last."""
SLOW_S = 20.0
"""A page that has not taken what it was sent for so long is given up."""
LONGEST_PAUSE_S = 20.0
"""Of a replay: a run that was interrupted for a night does not stand still for long."""
GRAIN_S = 0.02
"""Events of a replay that are nearer to each other go out together."""


class Stretch(NamedTuple):
    """A part of the log that was read: its events, the number after the last, and lines that were none so far."""

    lines: list[LogLine]
    next: int
    skipped: int
    generation: int


class EventStream:
    """An ASGI response that ends when its page is gone.

    Args:
        feed: the run.
        start: the offset after which to go on.
        speed: replay the run with its pauses divided by this; None to show it as it is now.
        closing: set once the server ends.
        drop: told where the page does not read, to cut its connection.
    """

    def __init__(
        self, feed: RunFeed, start: int, speed: float | None, closing: asyncio.Event, drop: Callable[[], None]
    ) -> None:
        self._feed = feed
        self._start = start
        self._speed = speed
        self._closing = closing
        self._drop = drop
        self._send: Send | None = None
        self._told_skipped = 0
        self._generation = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak until the page is gone, does not listen, or the server ends."""
        del scope
        self._send = send
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        tasks = [asyncio.create_task(work) for work in (self._speak(), _until_gone(receive), self._until_closed())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._end(tasks[0])

    async def _end(self, speaker: asyncio.Task[None]) -> None:
        """Close the answer; cut the connection of a page that does not read."""
        error = None if speaker.cancelled() else speaker.exception()
        if isinstance(error, _NotReadError):
            self._drop()
            await asyncio.sleep(0)  # until it is known here that the connection is lost
        elif error is not None:
            raise error
        else:
            assert self._send is not None
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _speak(self) -> None:
        async with self._feed.followed():
            at = await self._first()
            at = await (self._history(at) if self._speed is None else self._replay(at, self._speed))
            await self._say(b"event: live\ndata: {}\n\n")
            while not self._closing.is_set():
                if not await self._feed.grown(at, KEEPALIVE_S):
                    await self._say(b": nothing new\n\n")
                at = await self._news(at)
            await self._feed.look()  # a run's page is told to end right after the run's last words
            await self._news(at)

    async def _until_closed(self) -> None:
        await self._closing.wait()
        self._feed.wake()
        if self._speed is None:
            await asyncio.sleep(LAST_S)

    async def _first(self) -> int:
        """The number of the event to begin with."""

        def look(index: LogIndex) -> tuple[int | None, int]:
            return index.after(self._start), index.generation

        found, self._generation = await self._feed.ask(look)
        if found is None:  # what the page has is of another log
            await self._restart()
        return found or 0

    async def _restart(self) -> None:
        await self._say(b"id: 0\nevent: restart\ndata: {}\n\n")

    async def _history(self, at: int) -> int:
        """Say what there is, thinned; the number of the event to go on with."""

        def look(index: LogIndex) -> tuple[list[int], int]:
            return index.kept(at, len(index)), len(index)

        numbers, end = await self._feed.ask(look)
        for start in range(0, len(numbers), HISTORY):
            part = numbers[start : start + HISTORY]
            lines = await self._feed.ask(lambda index, part=part: index.read(part))  # type: ignore[misc]
            if lines:
                data = b",".join(line.data for line in lines)
                await self._say(b"id: %d\nevent: history\ndata: [%b]\n\n" % (lines[-1].end, data))
        await self._tell_skipped(await self._feed.ask(lambda index: index.skipped))
        return end

    async def _news(self, at: int) -> int:
        """Say what happened since, each event by itself; the number of the event to go on with."""
        stretch = await self._feed.ask(partial(_stretch, at=at))
        if stretch.generation != self._generation:
            self._generation = stretch.generation
            await self._restart()
            return await self._history(0)
        if stretch.next - at > HISTORY:  # a page that was slow
            return await self._history(at)
        if stretch.lines:
            await self._say(b"".join(map(_message, stretch.lines)))
        await self._tell_skipped(stretch.skipped)
        return stretch.next

    async def _replay(self, at: int, speed: float) -> int:
        """Say each event at its time; the number of the event to go on with."""
        loop = asyncio.get_running_loop()
        due_s, before_s = loop.time(), None
        while True:
            stretch = await self._feed.ask(partial(_stretch, at=at, most=HISTORY))
            if stretch.next == at:
                return at
            waiting: list[LogLine] = []
            for line in stretch.lines:
                pause_s = 0.0 if before_s is None else max(0.0, line.time_s - before_s) / speed
                due_s += min(pause_s, LONGEST_PAUSE_S)
                before_s = line.time_s
                if due_s - loop.time() > GRAIN_S:
                    await self._say(b"".join(map(_message, waiting)))
                    waiting = []
                    await self._sleep_until(due_s)
                waiting.append(line)
            await self._say(b"".join(map(_message, waiting)))
            await self._tell_skipped(stretch.skipped)
            at = stretch.next

    async def _sleep_until(self, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        while (left_s := due_s - loop.time()) > 0:
            await asyncio.sleep(min(left_s, KEEPALIVE_S))
            if due_s - loop.time() > 0:
                await self._say(b": the run paused\n\n")

    async def _tell_skipped(self, skipped: int) -> None:
        if skipped != self._told_skipped:
            self._told_skipped = skipped
            await self._say(b'event: skipped\ndata: {"count": %d}\n\n' % skipped)

    async def _say(self, text: bytes) -> None:
        """Hand over some text.

        Raises:
            _NotReadError: the page does not take it.
        """
        assert self._send is not None
        if not text:
            return
        try:
            async with asyncio.timeout(SLOW_S):
                await self._send({"type": "http.response.body", "body": text, "more_body": True})
        except TimeoutError:
            raise _NotReadError from None


class _NotReadError(Exception):
    """A page does not take what it is sent."""


def _stretch(index: LogIndex, *, at: int, most: int = HISTORY + 1) -> Stretch:
    end = min(len(index), at + most)
    start = min(at, end)
    few = end - start <= HISTORY
    return Stretch(index.read(list(range(start, end))) if few else [], end, index.skipped, index.generation)


def _message(line: LogLine) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (line.end, line.name.encode(), line.data)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
