"""What a run's events add up to: the state that the terminal, the plain lines and the report all show."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import TYPE_CHECKING, NamedTuple

from splitfed.records import events

if TYPE_CHECKING:
    from splitfed.records.results import CellResult


class Point(NamedTuple):
    """One value of a curve; ``at_s`` is seconds since its cell started."""

    at_s: float
    value: float


class TimeLeft(NamedTuple):
    """Seconds to the end of the run; ``at_least`` where part of the work has not been timed yet."""

    seconds: float
    at_least: bool


@dataclass
class ClientState:
    """One client of the running cell."""

    round: int = 0
    step: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)
    images_per_s: float = 0.0
    sent_bytes: int = 0
    lost: str | None = None
    """Why its updates of this round were dropped, if they were."""


@dataclass
class AttackState:
    """One attack on one cell, with its scores over time."""

    latest: events.AttackProgress
    psnr_db: list[Point] = field(default_factory=list)
    ssim: list[Point] = field(default_factory=list)
    ssim_after_training: list[Point] = field(default_factory=list)
    """Of the images that are shown meanwhile, always the same; ``at_s`` is seconds since the last round was over."""


@dataclass
class CellState:
    """One cell from its start on."""

    started: events.CellStarted
    preparing: events.PrepareProgress | None = None
    """Work before round 1, while it goes on."""
    rounds: list[events.RoundFinished] = field(default_factory=list)
    first_round_s: float | None = None
    """When the first client of round 1 reported, in seconds since the epoch."""
    clients: dict[int, ClientState] = field(default_factory=dict)
    attacks: dict[str, AttackState] = field(default_factory=dict)

    @property
    def round(self) -> int:
        """The round that is being trained: one after the last finished, at most the last."""
        done = self.rounds[-1].round if self.rounds else 0
        return min(done + 1, self.started.rounds)

    @property
    def rounds_done(self) -> float:
        """Finished rounds, with the running one as a fraction by its slowest client."""
        done = self.rounds[-1].round if self.rounds else 0
        running = [c.step / c.steps for c in self.clients.values() if c.round > done and c.steps and not c.lost]
        return min(done + (min(running) if running else 0.0), self.started.rounds)

    @property
    def strip(self) -> events.AttackProgress | None:
        """The latest report with a strip of the attack that is ahead, by SSIM as in the results."""
        return self.strip_of(None)

    def strip_of(self, attack: str | None) -> events.AttackProgress | None:
        """The latest report with a strip of this attack; of the one that is ahead where it has none."""
        chosen = self.attacks.get(attack or "")
        if chosen is not None and chosen.latest.strip is not None:
            return chosen.latest
        with_strip = [attack.latest for attack in self.attacks.values() if attack.latest.strip is not None]
        return max(with_strip, key=lambda report: (report.ssim or 0.0, report.time_s), default=None)

    @property
    def trained(self) -> bool:
        """Whether its last round is finished: what is left is attacking."""
        return bool(self.rounds) and self.rounds[-1].round >= self.started.rounds


@dataclass
class RunState:
    """A run, as far as its events tell. Feed it events in their order; it never fails on one."""

    started: events.RunStarted | None = None
    loading: events.PrepareProgress | None = None
    """Work before the first cell, such as decoding images, while it goes on."""
    cells: dict[str, CellState] = field(default_factory=dict)
    results: dict[str, CellResult] = field(default_factory=dict)
    """Entries of the cells that finished, by name."""
    notices: list[events.Notice] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    """How long each cell took that started and finished within these events."""
    running: list[str] = field(default_factory=list)
    """The cells under way, in the order in which they started."""
    unfinished: list[str] = field(default_factory=list)
    """The cells that ended without a result."""
    finished: events.RunFinished | None = None
    latest_s: float = 0.0
    """Time of the last event."""

    @property
    def current(self) -> CellState | None:
        """The cell under way; of several, the one that started first."""
        return self.cells[self.running[0]] if self.running else None

    @property
    def cell_names(self) -> tuple[str, ...]:
        """All cells, those still to come included."""
        return self.started.cells if self.started else tuple(self.cells)

    @property
    def done(self) -> tuple[str, ...]:
        """The finished cells, those of an interrupted earlier part of the run included."""
        earlier = self.started.finished if self.started else ()
        return (*earlier, *(name for name in self.results if name not in earlier))

    def time_left(self, now_s: float) -> TimeLeft | None:
        """How long the run still takes, by the pace so far; None while there is none to go by."""
        waiting = len(self.cell_names) - len(self.done) - len(self.running) - len(self.unfinished)
        if self.durations_s:
            typical_s = sum(self.durations_s) / len(self.durations_s)
            started_s = [self.cells[name].started.time_s for name in self.running]
            work_s = sum(max(0.0, typical_s - (now_s - at_s)) for at_s in started_s) + waiting * typical_s
            return TimeLeft(work_s / max(len(self.running), 1), False)
        return self._time_left_in_training(now_s, waiting / max(len(self.running), 1))

    def apply(self, event: events.Event) -> None:
        """Take in one event."""
        self.latest_s = event.time_s
        self._apply(event)

    def _time_left_in_training(self, now_s: float, waiting: float) -> TimeLeft | None:
        # before any cell has finished nobody knows how long its attacks take
        cell = self.current
        if cell is None or cell.first_round_s is None or cell.rounds_done == 0 or cell.trained:
            return None
        all_rounds_s = (now_s - cell.first_round_s) / cell.rounds_done * cell.started.rounds
        left_s = all_rounds_s * (1 - cell.rounds_done / cell.started.rounds)
        return TimeLeft(left_s + waiting * all_rounds_s, True)

    @singledispatchmethod
    def _apply(self, event: events.Event) -> None:
        """Events of other kinds change nothing here."""

    @_apply.register
    def _(self, event: events.RunStarted) -> None:
        self.started, self.finished, self.running, self.unfinished = event, None, [], []

    @_apply.register
    def _(self, event: events.Notice) -> None:
        self.notices.append(event)

    @_apply.register
    def _(self, event: events.CellStarted) -> None:
        self.cells[event.cell] = CellState(event)
        self.running = [name for name in self.running if name != event.cell] + [event.cell]

    @_apply.register
    def _(self, event: events.PrepareProgress) -> None:
        unfinished = event if event.done < event.total else None
        if cell := self.cells.get(event.cell):
            cell.preparing = unfinished
        else:
            self.loading = unfinished

    @_apply.register
    def _(self, event: events.ClientProgress) -> None:
        if not (cell := self.cells.get(event.cell)):
            return
        cell.preparing = None
        if cell.first_round_s is None:
            cell.first_round_s = event.time_s
        client = cell.clients.setdefault(event.client, ClientState())
        client.round, client.step, client.steps = event.round, event.step, event.steps
        client.images_per_s, client.sent_bytes = event.images_per_s, event.sent_bytes
        client.losses.append(event.loss)
        client.lost = None

    @_apply.register
    def _(self, event: events.ClientLost) -> None:
        if cell := self.cells.get(event.cell):
            cell.clients.setdefault(event.client, ClientState()).lost = event.reason

    @_apply.register
    def _(self, event: events.RoundFinished) -> None:
        if cell := self.cells.get(event.cell):
            cell.rounds.append(event)

    @_apply.register
    def _(self, event: events.AttackProgress) -> None:
        if not (cell := self.cells.get(event.cell)):
            return
        attack = cell.attacks.setdefault(event.attack, AttackState(event))
        attack.latest = event
        at_s = event.time_s - cell.started.time_s
        if event.psnr_db is not None:
            attack.psnr_db.append(Point(at_s, event.psnr_db))
        if event.ssim is not None:
            attack.ssim.append(Point(at_s, event.ssim))
            if cell.trained and not event.final:  # a final score is over other images
                attack.ssim_after_training.append(Point(event.time_s - cell.rounds[-1].time_s, event.ssim))

    @_apply.register
    def _(self, event: events.CellFinished) -> None:
        self.results[event.cell] = event.result
        if cell := self.cells.get(event.cell):
            self.durations_s.append(event.time_s - cell.started.time_s)
        self.running = [name for name in self.running if name != event.cell]

    @_apply.register
    def _(self, event: events.CellUnfinished) -> None:
        self.unfinished.append(event.cell)
        self.running = [name for name in self.running if name != event.cell]
        self.notices.append(events.Notice(time_s=event.time_s, message=f"{event.cell} is unfinished: {event.reason}"))

    @_apply.register
    def _(self, event: events.RunFinished) -> None:
        self.finished, self.running = event, []
