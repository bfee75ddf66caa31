"""The run directory: what a run leaves behind, and all that its views need.

runs/<scenario>-<time>/
    manifest.json     scenario, seeds, versions, commit, machine; written once
    events.jsonl      one event a line, in the order in which they happened
    results.json      one entry per finished cell; replaced whole, so it is never half written
    cells/<cell>/     what one cell leaves: observations, knowledge, the attacker's settings, log and reconstructions
    checkpoints/      what `--resume` goes on from
    images/           image grids and strips
    features.json     features after two layers, where `report --features` measured them
    report.html       everything above in one page
    run.lock          held by the process that runs it; whoever only reads needs no lock

It holds private images, so it is readable by its owner alone unless it was made to be shared.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from splitfed.errors import UserError
from splitfed.files import LONGEST_NAME_BYTES, as_open_as, as_path, cannot, file_name, remove_drafts
from splitfed.records.event_log import EventLog
from splitfed.records.lock import locked
from splitfed.records.manifest import Manifest, read_manifest
from splitfed.records.record import RESTORE, save
from splitfed.records.results import Results, checked, read_results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from splitfed.records.events import Event

WITH_OUT = "name another place with --out"
MANIFEST, EVENTS, RESULTS, REPORT, LOCK = "manifest.json", "events.jsonl", "results.json", "report.html", "run.lock"


class RunStore:
    """One run directory, open for reading and for adding to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._events = EventLog(path / EVENTS)

    @classmethod
    def create(cls, root: str | Path, scenario_name: str, manifest: Manifest, *, share: bool = False) -> RunStore:
        """A new run directory under ``root`` with its manifest.

        Args:
            root: made where it is not there.
            scenario_name: what its own name begins with.
            manifest: what is to be said of the run.
            share: whether others may read it, as far as this user's umask lets them.

        Raises:
            UserError: it cannot be made there.
        """
        store = cls(_new_directory(as_path(root), scenario_name, 0o777 if share else 0o700))
        try:
            with as_open_as(store.path):
                save(store.path / MANIFEST, manifest)
        except UserError:
            store.path.rmdir()  # else it would look like a run
            raise
        return store

    @classmethod
    def open(cls, path: str | Path) -> RunStore:
        """An existing run directory.

        Raises:
            UserError: there is none at ``path``.
        """
        path = as_path(path)
        if not (path / MANIFEST).is_file():
            raise UserError(
                f"{path} is no run: it has no {MANIFEST}. Name a directory that `splitfed scenario` made, "
                "such as runs/<scenario>-<time>"
            )
        return cls(path)

    @classmethod
    def latest(cls, root: str | Path) -> RunStore:
        """The run under ``root`` that was created last.

        Raises:
            UserError: there is none.
        """
        root = as_path(root)
        runs = [cls(manifest.parent) for manifest in root.glob(f"*/{MANIFEST}")]
        if not runs:
            raise UserError(f"no run under {root}: start one with `splitfed scenario NAME`, or name its path")
        return max(runs, key=lambda run: (run._created(), run.path.name))

    def _created(self) -> str:
        """When this run was made; nothing where its manifest is damaged."""
        with suppress(UserError):
            return self.manifest.created
        return ""

    @contextmanager
    def running(self) -> Iterator[bool]:
        """Be the one process that runs this run, whose files are then as open as its directory.

        Yields whether others are kept out: not every file system has locks.

        Raises:
            UserError: another process runs it; the message says which.
        """
        with as_open_as(self.path), locked(self.path / LOCK) as alone:
            for folder in (self.path / "images", self.path / "checkpoints"):
                remove_drafts(folder)
            yield alone

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the event log; a later event opens it again."""
        self._events.close()

    @property
    def manifest(self) -> Manifest:
        """What `create` wrote.

        Raises:
            UserError: it is damaged, or of another version of splitfed.
        """
        return read_manifest(self.path / MANIFEST)

    @property
    def has_results(self) -> bool:
        """Whether `results.json` has been written."""
        return (self.path / RESULTS).is_file()

    @property
    def results(self) -> Results:
        """The finished cells so far, checked against the schema.

        Raises:
            UserError: there is no `results.json` yet, or it is damaged.
        """
        if not self.has_results:
            raise UserError(f"{self.path} has no {RESULTS} yet: no cell of this run has finished")
        cure = f"{RESTORE}, or delete it and have the cells attacked anew: splitfed scenario --resume {self.path}"
        return read_results(self.path / RESULTS, cure=cure)

    @property
    def report_path(self) -> Path:
        """Where `views.report.report.write_report` puts the page."""
        return self.path / REPORT

    @property
    def pictures(self) -> list[Path]:
        """The grids and strips that there are, by name; a run that can only be read may have none."""
        return sorted((self.path / "images").glob("*.png"))

    @property
    def images_dir(self) -> Path:
        """The folder of grids and strips, made on first use."""
        return self._folder("images")

    @property
    def checkpoints_dir(self) -> Path:
        """The folder that `--resume` reads, made on first use."""
        return self._folder("checkpoints")

    def cell_dir(self, cell: str) -> Path:
        """The folder of one cell, made on first use; any name of a cell gives a folder of its own."""
        return self._folder(f"cells/{file_name(cell)}")

    def append_event(self, event: Event) -> None:
        """Add an event to `events.jsonl`; the record of `bus.Bus`.

        Raises:
            UserError: the disk is full, or the file cannot be written.
        """
        self._events.append(event)

    def read_events(self) -> Iterator[Event]:
        """All events so far; see `EventLog.read`."""
        return self._events.read()

    def save_results(self, results: Results) -> None:
        """Replace `results.json` in one step: readers see the old one or the new one, never a part.

        Raises:
            UserError: ``results`` does not fit the schema; the old file stays.
        """
        save(self.path / RESULTS, checked(results))

    def finished_cells(self) -> list[str]:
        """The names of the cells in `results.json`, in the order in which they finished."""
        return [cell.cell for cell in self.results.cells] if self.has_results else []

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot("make the folder", folder, error) from error
        return folder


def _new_directory(root: Path, scenario_name: str, mode: int) -> Path:
    stem = re.sub(r"[^\w.-]+", "-", scenario_name).strip(".-") or "run"
    short = stem.encode()[: LONGEST_NAME_BYTES - len("-20260101-120000")].decode("utf-8", "ignore")
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _first_free(root, f"{short}-{time.strftime('%Y%m%d-%H%M%S')}", mode)
    except OSError as error:
        raise cannot("make a run directory in", root, error, elsewhere=WITH_OUT) from error


def _first_free(root: Path, base: str, mode: int) -> Path:
    attempt = 1
    while True:
        path = root / (base if attempt == 1 else f"{base}-{attempt}")
        try:
            path.mkdir(mode)  # two runs that start in the same second: one makes it, the other counts on
        except FileExistsError:
            attempt += 1
        else:
            return path
