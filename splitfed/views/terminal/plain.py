"""Progress as plain lines, for logs and pipes: the facts of the live view, a line at a time."""

from __future__ import annotations

import sys
from functools import singledispatchmethod
from typing import TYPE_CHECKING, TextIO

from splitfed.records import events
from splitfed.views.progress import RunState
from splitfed.views.summary import why_not_completed
from splitfed.views.text import SYNTHETIC, byte_count, cell_position, duration, number, percent, time_left

if TYPE_CHECKING:
    from splitfed.views.progress import CellState

INTERVAL_S = 10.0
"""At most one line in this time about steps within a round, and one per attack about its epochs."""


class PlainView:
    """A subscriber of `records.bus.Bus` that writes lines to ``stream`` (standard error unless told otherwise).

    Rounds, final scores, results and notices always get their line; steps and epochs at most one per
    ``interval_s``. The final table is the caller's to print.
    """

    def __init__(self, stream: TextIO | None = None, *, interval_s: float = INTERVAL_S) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._run = RunState()
        self._last_s: dict[str, float] = {}
        self._started_s: float | None = None

    def __call__(self, event: events.Event) -> None:
        """Take in one event and write its line, if it has one."""
        if self._started_s is None:
            self._started_s = event.time_s
        self._run.apply(event)
        self._tell(event)

    @singledispatchmethod
    def _tell(self, event: events.Event) -> None:
        """Events of other kinds have no line."""

    @_tell.register
    def _(self, event: events.RunStarted) -> None:
        if event.synthetic:
            self._banner(SYNTHETIC)
        finished = f", {len(event.finished)} already finished" if event.finished else ""
        self._write(
            f"{event.scenario}: {event.dataset}, {event.threat} threat, {len(event.cells)} cells{finished}; "
            f"run directory {event.run_dir} (`splitfed watch` shows it in a browser)"
        )

    @_tell.register
    def _(self, event: events.Notice) -> None:
        if event.level == "banner":
            self._banner(event.message)
        else:
            self._write(f"{event.level}: {event.message}")

    @_tell.register
    def _(self, event: events.CellStarted) -> None:
        self._last_s.clear()
        self._write(
            f"{cell_position(self._run)}: {event.cell}, {event.rounds} rounds, {event.clients} clients; "
            f"{time_left(self._run, event.time_s)}"
        )

    @_tell.register
    def _(self, event: events.PrepareProgress) -> None:
        if event.done >= event.total or self._due("prepare", event.time_s):
            self._write(f"{event.cell}: {event.what} {event.done}/{event.total}")

    @_tell.register
    def _(self, event: events.ClientProgress) -> None:
        cell = self._run.cells.get(event.cell)
        if cell and self._due("clients", event.time_s):
            step = f"round {event.round} of {cell.started.rounds}, step {event.step + 1}/{event.steps}"
            self._write(f"{event.cell}: {step}; {_clients(cell)}; {time_left(self._run, event.time_s)}")

    @_tell.register
    def _(self, event: events.ClientLost) -> None:
        when = f"round {event.round}" if event.round else "the preparation"
        self._write(f"{event.cell}: {when} goes on without client {event.client}: {event.reason}")

    @_tell.register
    def _(self, event: events.RoundFinished) -> None:
        self._last_s["clients"] = event.time_s
        cell = self._run.cells.get(event.cell)
        clients = f"; {_clients(cell)}" if cell and cell.clients else ""
        self._write(
            f"{event.cell}: round {event.round} of {event.rounds} done, accuracy {number(event.accuracy, 3)}, "
            f"loss {number(event.loss, 3)}{clients}; {time_left(self._run, event.time_s)}"
        )

    @_tell.register
    def _(self, event: events.AttackProgress) -> None:
        scored = event.psnr_db is not None  # most epochs are not: the lab scores what the attacker shows
        if event.final or (scored and self._due(f"attack {event.attack}", event.time_s)):
            state = "final" if event.final else f"round {event.round}, epoch {event.epoch}"
            self._write(
                f"{event.cell}: attack {event.attack}, {state}: PSNR {number(event.psnr_db, 1)} dB, "
                f"SSIM {number(event.ssim, 3)}"
            )

    @_tell.register
    def _(self, event: events.CellUnfinished) -> None:
        self._write(f"{event.cell} is unfinished: {event.reason}")

    @_tell.register
    def _(self, event: events.CellFinished) -> None:
        result = self._run.results[event.cell]
        if why := why_not_completed(result):
            self._write(f"{event.cell} cannot be trained: {why}; INVALID")
            return
        score = result.strongest_score
        leak = "the attacker saw nothing" if score is None else (
            f"strongest attack {result.strongest}: PSNR {number(score.psnr_db, 1)} dB, "
            f"SSIM {number(score.ssim, 3)}, re-identified {percent(result.reid_rate)}"
        )  # fmt: skip
        failed = [gate for gate, passed in result.gates.items() if not passed]
        verdict = "valid" if result.valid else f"INVALID, failed {', '.join(failed)}"
        self._write(f"{event.cell} finished: accuracy {number(result.accuracy, 3)}; {leak}; {verdict}")

    @_tell.register
    def _(self, event: events.RunFinished) -> None:
        self._write(f"finished, {'all cells valid' if event.valid else 'INVALID: see the gates that failed'}")

    def _due(self, what: str, now_s: float) -> bool:
        if now_s - self._last_s.get(what, float("-inf")) < self._interval_s:
            return False
        self._last_s[what] = now_s
        return True

    def _banner(self, message: str) -> None:
        rule = "!" * 80
        self._write(f"{rule}\n{message}\n{rule}")

    def _write(self, line: str) -> None:
        elapsed_s = self._run.latest_s - self._started_s if self._started_s is not None else 0.0
        stream = self._stream or sys.stderr  # looked up late: standard error may be replaced meanwhile
        for part in line.splitlines():
            stream.write(f"[{duration(elapsed_s):>9}] {part}\n")
        stream.flush()


def _clients(cell: CellState) -> str:
    clients = list(cell.clients.values())
    losses = [client.losses[-1] for client in clients if client.losses]
    rate, sent = sum(c.images_per_s for c in clients), sum(c.sent_bytes for c in clients)
    shown = "/".join(number(loss, 3) for loss in losses[:4]) + ("/…" if len(losses) > 4 else "")
    return f"client losses {shown}, {rate:,.0f} images/s, {byte_count(sent)} sent"
