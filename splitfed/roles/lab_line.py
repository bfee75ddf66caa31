"""The server's line to the lab: told in the background, so that training never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid

from splitfed.federation.clients_grid import ClientsGrid
from splitfed.roles.lab_protocol import KEY, NEWS, NUMBER, TELL, News
from splitfed.roles.parcel import pack

logger = logging.getLogger(__name__)

PAUSE_S = 0.3
"""Between two Messages; what happens meanwhile travels together."""
ANSWER_S = 30.0
"""How long the lab may take to hear one."""
HEAR_OUT_S = 120.0
"""How long the lab is waited for at the end."""
MOST_WAITING_BYTES = 512 * 2**20
"""Of news that wait for a lab that does not answer; beyond, files are left out."""
MOST_FILE_BYTES = 256 * 2**20
"""In one Message."""


class _Item(NamedTuple):
    line: str
    files: Mapping[str, bytes]

    @property
    def nbytes(self) -> int:
        return len(self.line) + sum(map(len, self.files.values()))


class LabLine:
    """Tells the lab everything once, in order.

    Args:
        grid: who carries it.
        node_of_lab: the lab's node at this moment; None where it is not there.
        key: of the order.
    """

    def __init__(self, grid: Grid, node_of_lab: Callable[[], int | None], key: str) -> None:
        self._grid = grid
        self._key = key
        self._node_of_lab = node_of_lab
        self._waiting: deque[_Item] = deque()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._heard = 0  # lines so far
        self._thread = threading.Thread(target=self._run, daemon=True, name="lab-line")
        self._thread.start()

    def tell(self, news: News, files: Mapping[str, bytes] | None = None) -> None:
        """Have the lab know this, soon."""
        item = _Item(NEWS.write(news).decode(), files or {})
        with self._lock:
            if self._waiting_bytes + item.nbytes > MOST_WAITING_BYTES:
                logger.warning("the lab does not listen, and too much waits for it: files are left out")
                item = _Item(item.line, {})
            self._waiting.append(item)
            self._waiting_bytes += item.nbytes

    def close(self) -> bool:
        """Wait until the lab has heard everything; whether it has."""
        self._closing.set()
        self._thread.join(HEAR_OUT_S)
        return not self._waiting

    def _run(self) -> None:
        deadline: float | None = None
        while not (self._closing.is_set() and not self._waiting):
            if self._closing.is_set():
                deadline = deadline or time.monotonic() + HEAR_OUT_S
                if time.monotonic() > deadline:
                    return
            if not self._waiting or not self._deliver():
                time.sleep(PAUSE_S)

    def _deliver(self) -> bool:
        """Send what waits, as much as fits into a Message; whether the lab has heard it."""
        node = self._node_of_lab()
        if node is None:
            return False
        items = self._next()
        files = {name: content for item in items for name, content in item.files.items()}
        content = pack([item.line for item in items], files)
        content["config"] = ConfigRecord({KEY: self._key, NUMBER: self._heard})
        try:
            replies = ClientsGrid(self._grid, [node]).send_and_receive([Message(content, node, TELL)], timeout=ANSWER_S)
        except Exception as error:  # the SuperLink may be away for a while
            logger.info("the lab could not be told: %s", error)
            return False
        if not replies or replies[0].has_error():
            return False
        with self._lock:
            self._heard += len(items)
            for item in items:
                self._waiting.popleft()
                self._waiting_bytes -= item.nbytes
        return True

    def _next(self) -> list[_Item]:
        """The first items that wait; no two of them bring a file of one name."""
        chosen: list[_Item] = []
        names: set[str] = set()
        nbytes = 0
        with self._lock:
            for item in self._waiting:
                nbytes += item.nbytes
                if chosen and (nbytes > MOST_FILE_BYTES or names & item.files.keys()):
                    break
                names |= item.files.keys()
                chosen.append(item)
        return chosen
