"""The server's line to an attacker that takes part: it gets what every participant gets, and the lab hears it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from splitfed.attacker import protocol
from splitfed.attacker.protocol import MESSAGES
from splitfed.federation.arrays import to_arrays
from splitfed.federation.clients_grid import ClientsGrid
from splitfed.models.front import Front
from splitfed.roles.attacker_protocol import AFTER, END, FINAL, FRONT, REPORT, SHARE
from splitfed.roles.parcel import unpack

logger = logging.getLogger(__name__)

Hear = Callable[[str, Mapping[str, bytes]], None]
"""Gets a line of `MESSAGES`, and the files beside it."""

BEGIN_S = 60.0
"""How long the attacker may take to begin with a cell; then training goes on without it."""
ANSWER_S = 30.0
"""How long it may take to answer anything else."""
LIVE_PAUSE_S, FINAL_PAUSE_S = 1.0, 0.5
"""Between two reports, while training runs and after."""


class AttackerLine:
    """Whatever happens to the attacker is its own loss: training does not wait for it, but to begin.

    Args:
        grid: who carries it.
        node_of_attacker: its node at this moment; None where there is none.
        hear: gets what the attacker says.
        notice: gets a sentence for the user.
    """

    def __init__(
        self,
        grid: Grid,
        node_of_attacker: Callable[[], int | None],
        hear: Hear,
        notice: Callable[[str], None],
    ) -> None:
        self._grid = grid
        self._node_of_attacker = node_of_attacker
        self._hear = hear
        self._notice = notice
        self._begun = False
        self._heard = 0
        self._done = threading.Event()
        self._over = threading.Event()
        self._final = threading.Event()
        self._gone = threading.Event()
        self._told: set[str] = set()
        # in their order, and at most one on the way: training does not wait
        self._fronts = ThreadPoolExecutor(1, "attacker-front")
        self._reports = threading.Thread(target=self._listen, daemon=True, name="attacker-line")

    def front(self, config: ConfigRecord, round_number: int, front: Front) -> None:
        """Hand over the front of this round; the first time, wait until the attacker is at the wire."""
        content = RecordDict(
            {"arrays": to_arrays(front), "config": ConfigRecord({**config, "server-round": round_number})}
        )
        if self._begun:
            self._fronts.submit(self._say, FRONT, content)
            return
        if self._say(FRONT, content, BEGIN_S, tries=1):
            self._begun = True
            self._reports.start()

    def finish(self, round_number: int, rows: int, deadline_s: float) -> None:
        """Training is over: have the attacks run to their end on the audit, whose streams held so many rows."""
        if not self._begun:
            return
        self._fronts.shutdown()
        final = ConfigRecord({"round": round_number, "rows": rows})
        if not self._say(FINAL, RecordDict({"final": final})):
            return
        self._final.set()
        deadline = time.monotonic() + deadline_s
        while not self._done.wait(FINAL_PAUSE_S) and not self._gone.is_set():
            if time.monotonic() > deadline:
                self._notice(f"the attacker was not done within {deadline_s:g} s (attacker.deadline_s)")
                return

    def shared(self) -> RecordDict:
        """What the attacker shows of its own images; empty where it does not answer."""
        reply = self._exchange(SHARE, RecordDict({}), ANSWER_S) if self._begun else None
        return RecordDict({}) if reply is None or reply.has_error() else reply.content

    def close(self) -> None:
        """Nothing more is wanted."""
        self._over.set()
        if self._begun:
            self._reports.join(ANSWER_S)
            self._say(END, RecordDict({}))

    def _listen(self) -> None:
        """Ask for reports until the attacker is done or gone, or nobody wants to know any more."""
        while not (self._over.is_set() or self._done.is_set() or self._gone.is_set()):
            self._ask_for_report()
            self._over.wait(FINAL_PAUSE_S if self._final.is_set() else LIVE_PAUSE_S)

    def _ask_for_report(self) -> None:
        reply = self._exchange(REPORT, RecordDict({"config": ConfigRecord({AFTER: self._heard})}), ANSWER_S)
        if reply is None:
            return
        if reply.has_error():
            self._gone.set()
            self._notice_once(f"the attacker is lost: {reply.error.reason}")
            return
        lines, files = unpack(reply.content)
        for line in lines:
            self._heard += 1
            self._hear(line, files)
            files = {}
            self._done_if(line)

    def _done_if(self, line: str) -> None:
        try:
            if isinstance(MESSAGES.read(line), protocol.Done):
                self._done.set()
        except ValueError:
            logger.debug("the attacker said something unexpected: %.200s", line)

    def _say(self, kind: str, content: RecordDict, deadline_s: float = ANSWER_S, *, tries: int = 2) -> bool:
        """Whether the attacker took it; where not, the user is told.

        What gets no answer is said again: a SuperLink that was killed meanwhile may have lost it.
        """
        said = (self._exchange(kind, content, deadline_s) for _ in range(tries))
        reply = next((answer for answer in said if answer is not None), None)
        if reply is None:
            self._notice_once("the attacker does not answer. Training goes on without it")
        elif reply.has_error():
            self._notice_once(f"the attacker fails: {reply.error.reason}. Training goes on without it")
        return reply is not None and not reply.has_error()

    def _notice_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._notice(text)

    def _exchange(self, kind: str, content: RecordDict, deadline_s: float) -> Message | None:
        node = self._node_of_attacker()
        if node is None:
            time.sleep(min(LIVE_PAUSE_S, deadline_s))
            return None
        try:
            asked = [Message(content, node, kind)]
            replies = ClientsGrid(self._grid, [node]).send_and_receive(asked, timeout=deadline_s)
        except Exception as error:  # the SuperLink may be away for a while
            logger.info("the attacker could not be asked: %s", error)
            return None
        return replies[0] if replies else None
