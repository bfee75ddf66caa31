"""What a run says about itself, as typed events.

The engine emits events and never prints. Terminal, web and report are views of the same events. Each event
goes, as one JSON line, to the run's `events.jsonl` and then to every subscriber of the `Bus`.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of all events. ``time_s`` is seconds since the epoch."""

    time_s: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A scenario begins. ``cells`` are the names of its cells in the order in which they run."""

    scenario: str
    run_dir: str
    threat: str
    dataset: str
    synthetic: bool
    cells: tuple[str, ...]
    finished: tuple[str, ...] = ()
    """Cells that a resumed run has already finished."""


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something that the user must see: a fallback, an attacker that died, a client that was dropped."""

    message: str
    level: str = "warning"
    """``info``, ``warning`` or ``banner`` (one that no one can miss)."""


@dataclass(frozen=True, kw_only=True)
class CellStarted(Event):
    """One cell (a defense with its options, and a seed) begins."""

    cell: str
    defense: str
    seed: int
    rounds: int
    clients: int


@dataclass(frozen=True, kw_only=True)
class PrepareProgress(Event):
    """Work before round 1, such as learning the first dictionary; ``done`` of ``total`` units."""

    cell: str
    what: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class ClientProgress(Event):
    """One client's training within a round."""

    cell: str
    round: int
    client: int
    step: int
    steps: int
    loss: float
    images_per_s: float
    sent_bytes: int
    """Bytes of frames that this client has sent in this cell so far."""


@dataclass(frozen=True, kw_only=True)
class ClientLost(Event):
    """A client's updates of this round were dropped; it may rejoin at the next."""

    cell: str
    round: int
    client: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class RoundFinished(Event):
    """The fronts were averaged and the model tested."""

    cell: str
    round: int
    rounds: int
    loss: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class AttackProgress(Event):
    """How far an attack has come, scored by the lab (the attacker knows no truth).

    ``strip`` is the path, relative to the run directory, of a PNG with original images in its upper row and
    their reconstructions below; ``strip_tile`` is the edge of one tile in pixels.
    """

    cell: str
    attack: str
    round: int
    epoch: int
    train_loss: float
    psnr_db: float | None = None
    ssim: float | None = None
    strip: str | None = None
    strip_tile: int = 0
    final: bool = False


@dataclass(frozen=True, kw_only=True)
class CellFinished(Event):
    """A cell is done; ``result`` is its entry of `results.json` (see `store.CellResult`)."""

    cell: str
    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CellUnfinished(Event):
    """A cell ended without a result, for a reason that does not lie in its settings; `--resume` runs it again."""

    cell: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """All cells are done; ``results`` is the whole of `results.json`."""

    results: dict[str, Any]
    valid: bool


def to_json(event: Event) -> dict[str, Any]:
    """An event as a JSON object; ``event`` is the name of its class."""
    return {"event": type(event).__name__, **dataclasses.asdict(event)}


def from_json(record: dict[str, Any]) -> Event:
    """The event that `to_json` wrote.

    Raises:
        KeyError: the record names no known event.
    """
    kinds = {kind.__name__: kind for kind in Event.__subclasses__()}
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
    kind = kinds[fields.pop("event")]
    return kind(**fields)
