"""What a run says about itself, as typed events.

The engine emits events and never prints. Terminal and report are views of the same events. Each event
goes, as one JSON line, to the run's `events.jsonl` and then to every subscriber of the `Bus`.
"""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field

from splitfed.records.lines import Lines
from splitfed.records.record import Spoken
from splitfed.records.results import CellResult, Results

Level = Literal["info", "warning", "banner"]
"""How loud a notice is; a banner is one that no one can miss."""


class Event(Spoken):
    """The base of all events. ``event`` is the name of the class, ``time_s`` is seconds since the epoch."""

    event: str
    time_s: float = Field(default_factory=time.time)


class RunStarted(Event):
    """A scenario begins. ``cells`` are the names of its cells in the order in which they run."""

    event: Literal["RunStarted"] = "RunStarted"
    scenario: str
    run_dir: str
    threat: str
    dataset: str
    synthetic: bool
    cells: tuple[str, ...]
    finished: tuple[str, ...] = ()
    """Cells that a resumed run has already finished."""


class Notice(Event):
    """Something that the user must see: a fallback, an attacker that died, a client that was dropped."""

    event: Literal["Notice"] = "Notice"
    message: str
    level: Level = "warning"


class CellStarted(Event):
    """One cell (a defense with its options, and a seed) begins."""

    event: Literal["CellStarted"] = "CellStarted"
    cell: str
    defense: str
    seed: int
    rounds: int
    clients: int


class PrepareProgress(Event):
    """Work before round 1, such as learning the first dictionary; ``done`` of ``total`` units."""

    event: Literal["PrepareProgress"] = "PrepareProgress"
    cell: str
    what: str
    done: int
    total: int


class ClientProgress(Event):
    """One client's training within a round."""

    event: Literal["ClientProgress"] = "ClientProgress"
    cell: str
    round: int
    client: int
    step: int
    """From 0."""
    steps: int
    loss: float
    images_per_s: float
    sent_bytes: int
    """Bytes of frames that this client has sent in this cell so far."""


class ClientLost(Event):
    """A client's updates of this round were dropped; it may rejoin at the next."""

    event: Literal["ClientLost"] = "ClientLost"
    cell: str
    round: int
    client: int
    reason: str


class RoundFinished(Event):
    """The fronts were averaged and the model tested."""

    event: Literal["RoundFinished"] = "RoundFinished"
    cell: str
    round: int
    rounds: int
    loss: float
    accuracy: float


class AttackProgress(Event):
    """How far an attack has come, scored by the lab (the attacker knows no truth).

    ``strip`` is the path, relative to the run directory, of a PNG with original images in its upper row and
    their reconstructions below; ``strip_tile`` is the edge of one tile in pixels. ``reid_top1`` is the share of what is
    shown whose nearest private image, of the first thousand, is its own.
    """

    event: Literal["AttackProgress"] = "AttackProgress"
    cell: str
    attack: str
    round: int
    epoch: int
    train_loss: float
    psnr_db: float | None = None
    ssim: float | None = None
    reid_top1: float | None = None
    strip: str | None = None
    strip_tile: int = 0
    final: bool = False


class WallMoment(Event):
    """An attack has shown what it makes of some victims now; the fields are those of `wall.WallShown`.

    ``sheet`` is the name of a PNG in the folder of the cell's wall.
    """

    event: Literal["WallMoment"] = "WallMoment"
    cell: str
    attack: str
    round: int
    epoch: int
    number: int
    sheet: str
    victims: tuple[int, ...]
    psnr_db: tuple[float | None, ...] = ()
    ssim: tuple[float | None, ...] = ()
    reid_rank: tuple[int, ...] = ()


class WallFinished(Event):
    """What an attack came to is on the wall; ``record`` is the path of its `wall.WallAttack` in the run directory."""

    event: Literal["WallFinished"] = "WallFinished"
    cell: str
    attack: str
    record: str


class ClientWire(Spoken):
    """What one client's streams have come to at the server since the cell began, whole frames and their bytes."""

    client: int
    frames: int
    received_bytes: int
    sent_bytes: int


class WireCounted(Event):
    """What the split service counted since the cell began; said at most once a second while a round runs.

    ``refused`` has streams and frames that were turned away by reason, ``broken`` counts streams that ended without
    being done, ``lost`` names the clients that the running round goes on without, ``sealed`` tells whether TLS is on.
    """

    event: Literal["WireCounted"] = "WireCounted"
    cell: str
    round: int
    clients: tuple[ClientWire, ...]
    refused: dict[str, int]
    broken: int
    lost: tuple[int, ...]
    sealed: bool


class CellFinished(Event):
    """A cell is done; ``result`` is its entry of `results.json`."""

    event: Literal["CellFinished"] = "CellFinished"
    cell: str
    result: CellResult


class CellUnfinished(Event):
    """A cell ended without a result, for a reason that does not lie in its settings; `--resume` runs it again."""

    event: Literal["CellUnfinished"] = "CellUnfinished"
    cell: str
    reason: str


class RunFinished(Event):
    """All cells are done; ``results`` is the whole of `results.json`."""

    event: Literal["RunFinished"] = "RunFinished"
    results: Results
    valid: bool


AnyEvent = (
    RunStarted
    | Notice
    | CellStarted
    | PrepareProgress
    | ClientProgress
    | ClientLost
    | RoundFinished
    | AttackProgress
    | WallMoment
    | WallFinished
    | WireCounted
    | CellFinished
    | CellUnfinished
    | RunFinished
)
EVENTS = Lines[Event](AnyEvent, "event")
"""Reads and writes them."""
