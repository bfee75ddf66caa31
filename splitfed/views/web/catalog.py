"""The runs that a server shows: one, or those of a directory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from splitfed.errors import UserError
from splitfed.records.events import EVENTS, RunStarted
from splitfed.records.lock import is_held
from splitfed.records.store import EVENTS as EVENTS_FILE
from splitfed.records.store import LOCK, MANIFEST, RunStore

HEAD_BYTES = 256 << 10
"""Of a log, in which it says what the run is of."""
TAIL_BYTES = 64 << 10
"""Of a log, at first, in which its last line is looked for."""
MOST_TAIL_BYTES = 16 << 20

State = Literal["running", "finished", "stopped"]


class Listed(NamedTuple):
    """One run as the list shows it.

    Attributes:
        id: the name of its directory.
        scenario, created: as its manifest says; empty where that is damaged.
        state: running while a process holds its lock.
        valid: the verdict over the finished cells; None while there are none.
        cells: how many are finished; ``of`` how many there are to be, None where the log does not say.
    """

    id: str
    scenario: str
    created: str
    state: State
    valid: bool | None
    cells: int
    of: int | None


class Catalog:
    """Finds runs by their id; whatever else lies beside them is not shown.

    Args:
        path: a run, or a directory of runs.

    Raises:
        UserError: it is neither.
    """

    def __init__(self, path: Path) -> None:
        self.single: str | None = None
        """The id of the one run, where it is one."""
        if (path / MANIFEST).is_file():
            path = path.resolve()
            self.single, self.root = path.name, path.parent
        elif path.is_dir():
            self.root = path.resolve()
        else:
            raise UserError(
                f"{path} is neither a run nor a directory of runs: name one that `splitfed scenario` made, such as "
                "runs/<scenario>-<time>, or the directory that holds them"
            )

    def find(self, run: str) -> RunStore | None:
        """The run of this id; None where there is none, or it is a link that leads elsewhere."""
        if run != os.path.basename(run) or run in ("", ".", "..") or "\0" in run:  # noqa: PTH119 - not a path yet
            return None
        if self.single is not None and run != self.single:
            return None
        path = self.root / run
        try:
            return RunStore.open(path) if not path.is_symlink() else None
        except (UserError, OSError):
            return None

    def runs(self) -> list[Listed]:
        """All runs, the newest first."""
        names = [self.single] if self.single is not None else self._names()
        stores = [store for name in names if (store := self.find(name)) is not None]
        return sorted(map(listed, stores), key=lambda run: (run.created, run.id), reverse=True)

    def _names(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []


def listed(store: RunStore) -> Listed:
    """What the list says of a run."""
    scenario = created = ""
    with suppress(UserError, OSError):
        manifest = store.manifest
        scenario, created = str(manifest.scenario.get("name", "")), manifest.created
    valid, cells = None, 0
    with suppress(UserError, OSError):
        if store.has_results and (results := store.results).cells:
            valid, cells = results.valid, len(results.cells)
    log = store.path / EVENTS_FILE
    return Listed(store.path.name, scenario, created, _state(store, log), valid, cells, _cells_to_be(log))


def _state(store: RunStore, log: Path) -> State:
    if is_held(store.path / LOCK):
        return "running"
    return "finished" if _last_line(log).startswith(b'{"event":"RunFinished"') else "stopped"


def _cells_to_be(log: Path) -> int | None:
    for line in _part(log, 0, HEAD_BYTES).split(b"\n"):
        if line.startswith(b'{"event":"RunStarted"'):
            with suppress(ValidationError):
                event = EVENTS.read(line)
                return len(event.cells) if isinstance(event, RunStarted) else None
    return None


def _last_line(log: Path) -> bytes:
    """The last whole line, which may be long: that of a finished run holds its results."""
    size, wanted = _size(log), TAIL_BYTES
    while True:
        start = max(size - wanted, 0)
        lines = _part(log, start, size - start).split(b"\n")
        if len(lines) > 2 or start == 0 or wanted >= MOST_TAIL_BYTES:
            return lines[-2] if len(lines) > 1 else b""
        wanted *= 4


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _part(path: Path, start: int, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(count)
    except OSError:
        return b""
