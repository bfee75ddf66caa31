"""The lab as a node of the federation: it is told how the cell goes that it ordered."""

from __future__ import annotations

import hmac
import threading
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import NamedTuple

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from pydantic import ValidationError

from splitfed.errors import SplitfedError
from splitfed.federation.roster import introduction
from splitfed.roles.lab_protocol import KEY, LAB, NEWS, NUMBER, News
from splitfed.roles.membership import Membership
from splitfed.roles.node import FlowerNode
from splitfed.roles.parcel import unpack

REGISTER_S = 30.0
"""How long the SuperLink may take to take the lab in."""
STOP_S = 5.0


class Told(NamedTuple):
    """A piece of news, and the files of the Message that brought it: its own, and those of other news in there."""

    news: News
    files: dict[str, bytes]


class LabNode:
    """Registers with a SuperLink; a context manager.

    Attributes:
        app: what answers the server.

    Raises:
        UserError: the SuperLink turns it away.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._key = ""
        self._heard = 0
        self._told: SimpleQueue[Told] = SimpleQueue()
        self._stopped = threading.Event()
        self._registered = threading.Event()
        self._error: Exception | None = None
        self.app = self._built()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="lab")

    def __enter__(self) -> LabNode:
        self._thread.start()
        if not self._registered.wait(REGISTER_S) or self._error is not None:
            self._stopped.set()
            raise self._error or TimeoutError
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(STOP_S)

    def begin(self, key: str) -> None:
        """From now on the cell with this key is meant."""
        self._key, self._heard, self._told = key, 0, SimpleQueue()

    def next(self, patience_s: float) -> Told | None:
        """The next piece of news; None where there is none within this time.

        Raises:
            UserError: the SuperLink has turned the lab away meanwhile.
        """
        try:
            return self._told.get(timeout=patience_s)
        except Empty:
            if self._error is not None:
                raise self._error from None
            return None

    def _serve(self) -> None:
        try:
            with FlowerNode(self.app, self._membership, self._stopped) as node:
                node.serve(self._registered.set)
        except Exception as error:
            self._error = error
        finally:
            self._registered.set()

    def _built(self) -> ClientApp:
        app = ClientApp()

        @app.query("join")
        def join(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
            return Message(introduction(LAB, key=self._key), reply_to=message)

        @app.query("tell")
        def tell(message: Message, context: Context) -> Message:  # noqa: ARG001
            config = message.content.config_records.get("config", ConfigRecord())
            if not (self._key and hmac.compare_digest(str(config.get(KEY, "")).encode(), self._key.encode())):
                raise SplitfedError("this lab ordered something else")
            lines, files = unpack(message.content)
            for number, line in enumerate(lines, start=int(str(config.get(NUMBER, 0)))):
                if number < self._heard:
                    continue
                self._heard = number + 1
                self._hear(line, files)
            return Message(RecordDict({}), reply_to=message)

        return app

    def _hear(self, line: str, files: dict[str, bytes]) -> None:
        try:
            self._told.put(Told(NEWS.read(line), files))
        except ValidationError:
            return  # of a server of another version, say; the run's outcome is what counts
