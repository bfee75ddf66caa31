"""A server over real directories, and a page's side of its addresses."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from splitfed.records.events import EVENTS, ClientProgress, Event, Notice
from splitfed.records.store import RunStore
from splitfed.views.web import port
from splitfed.views.web.catalog import Catalog
from splitfed.views.web.serve import serve
from tests.views.fabricated import manifest

WAIT_S = 20.0


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Message(NamedTuple):
    """One server-sent event."""

    event: str
    data: Any
    id: int | None


class Stream:
    """An open stream of events; comments are passed over, and counted."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self.answer = connection.getresponse()
        self.comments = 0

    def next(self) -> Message:
        """The next message.

        Raises:
            EOFError: the server has ended the stream.
        """
        found: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                found[name] = value
            elif "event" in found:
                number = int(found["id"]) if "id" in found else None
                return Message(found["event"], json.loads(found["data"]), number)
            elif self.answer.isclosed() or not self.answer.peek(1):
                raise EOFError

    def until(self, event: str) -> list[Message]:
        """All messages up to the first of this name, which is the last."""
        messages = [self.next()]
        while messages[-1].event != event:
            messages.append(self.next())
        return messages

    def close(self) -> None:
        """Leave, wherever it is."""
        self.answer.close()
        self._connection.close()


class Page:
    """Asks a server as a browser would."""

    def __init__(self, number: int) -> None:
        self.port = number
        self._streams: list[Stream] = []

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask once; underscores in names of headers stand for dashes."""
        connection = self._asked(path, method, headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def stream(self, path: str, **headers: str) -> Stream:
        """Open a stream."""
        self._streams.append(Stream(self._asked(path, "GET", headers)))
        return self._streams[-1]

    def close(self) -> None:
        """Leave all streams."""
        for stream in self._streams:
            stream.close()

    def _asked(self, path: str, method: str, headers: Mapping[str, str]) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        given = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host="host" in given)
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection


@contextmanager
def serving(path: Path, *, host: str = port.LOOPBACK, token: str | None = None) -> Iterator[Page]:
    """A server over this run or directory, that ends when the block does."""
    listening = port.listen(port=0)
    reads, writes = os.pipe()
    number = listening.getsockname()[1]
    options: dict[str, Any] = {"host": host, "token": token, "ends_with": reads}
    server = threading.Thread(target=serve, args=(Catalog(path), listening), kwargs=options)
    server.start()
    page = Page(number)
    try:
        yield page
    finally:
        os.close(writes)
        server.join(WAIT_S)
        os.close(reads)
        page.close()
        assert not server.is_alive()


def new_run(folder: Path, *said: Event, name: str = "small") -> RunStore:
    """A run that has said this."""
    store = RunStore.create(folder, name, manifest())
    say(store, *said)
    return store


def say(run: RunStore, *said: Event) -> None:
    """What a run adds to its log."""
    with RunStore.open(run.path) as store:
        for event in said:
            store.append_event(event)


def step(number: int, *, client: int = 0, round_number: int = 1, at_s: float = 0.0) -> ClientProgress:
    """A client's step."""
    return ClientProgress(
        time_s=at_s or float(number),
        cell="none",
        round=round_number,
        client=client,
        step=number,
        steps=9,
        loss=1.0,
        images_per_s=1.0,
        sent_bytes=1,
    )


def notices(count: int, start: int = 0) -> list[Notice]:
    """Notices, which nothing supersedes."""
    return [Notice(message=str(number), time_s=float(number)) for number in range(start, start + count)]


def add(log: Path, text: bytes) -> None:
    """Add to a log what no writer of ours would."""
    with log.open("ab") as file:
        file.write(text)


def line(event: Event) -> bytes:
    """An event's line."""
    return EVENTS.write(event)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
