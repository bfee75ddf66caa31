"""The run directory: what a run leaves behind, and all that its views need.

runs/<scenario>-<time>/
    manifest.json     scenario, seeds, versions, commit, machine; written once
    events.jsonl      one event a line, in the order in which they happened
    results.json      one entry per finished cell; replaced whole, so it is never half written
    cells/<cell>/     what one cell leaves: observations, reconstructions
    checkpoints/      what `--resume` goes on from
    images/           image grids and strips
    features.json     features after two layers, where `report --features` measured them
    report.html       everything above in one page
    run.lock          held by the process that runs it; whoever only reads needs no lock

It holds private images, so that it is its owner's alone unless it was made to be shared.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from splitfed.errors import UserError
from splitfed.files import LONGEST_NAME_BYTES, as_open_as, as_path, cannot, file_name, remove_drafts, write_whole
from splitfed.records import events
from splitfed.records.lock import locked
from splitfed.records.results import Results, validate_results, without_nonfinite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = ["Results", "RunStore"]

WITH_OUT = "name another place with --out"
RESTORE = "restore it from a copy of this run"
MANIFEST, EVENTS, RESULTS, REPORT, LOCK = "manifest.json", "events.jsonl", "results.json", "report.html", "run.lock"


class RunStore:
    """One run directory, open for reading and for adding to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._event_log: IO[bytes] | None = None

    @classmethod
    def create(
        cls, root: str | Path, scenario_name: str, manifest: Mapping[str, Any], *, share: bool = False
    ) -> RunStore:
        """A new run directory under ``root`` with its manifest, to which ``created`` (ISO 8601) is added.

        Args:
            root: made where it is not there.
            scenario_name: what its own name begins with.
            manifest: what is to be said of the run.
            share: whether others may read it, as far as this user's umask lets them.

        Raises:
            UserError: it cannot be made there.
        """
        store = cls(_new_directory(as_path(root), scenario_name, 0o777 if share else 0o700))
        created = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            with as_open_as(store.path):
                write_json(store.path / MANIFEST, {"created": created, **manifest})
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
            return str(self.manifest.get("created", ""))
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
        if self._event_log is not None:
            self._event_log.close()
            self._event_log = None

    @property
    def manifest(self) -> dict[str, Any]:
        """What `create` wrote.

        Raises:
            UserError: it is damaged.
        """
        manifest = read_json(self.path / MANIFEST)
        if not isinstance(manifest, dict):
            raise UserError(f"{self.path / MANIFEST} is damaged: expected a table, found {manifest!r}; {RESTORE}")
        return manifest

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
        return validate_results(read_json(self.path / RESULTS, cure=cure))

    @property
    def report_path(self) -> Path:
        """Where `views.report.write_report` puts the page."""
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

    def append_event(self, event: events.Event) -> None:
        """Add one line to `events.jsonl`, whole or not at all, visible to readers at once; the record of `events.Bus`.

        Raises:
            UserError: the disk is full, or the file cannot be written.
        """
        log_path = self.path / EVENTS
        try:
            if self._event_log is None:
                _drop_unfinished_line(log_path)
                self._event_log = log_path.open("ab", buffering=0)
            _append(self._event_log, _utf8(json.dumps(events.to_json(event), ensure_ascii=False) + "\n"))
        except OSError as error:
            resume = f"then go on with: splitfed scenario --resume {self.path}"
            raise UserError(f"{cannot('write', log_path, error)}; {resume}") from error

    def read_events(self) -> Iterator[events.Event]:
        """All events so far; a last line that is still being written (or was cut off) is left out.

        So is a line that is no event of this version: a warning at the end says how many there were.
        """
        log_path = self.path / EVENTS
        if not log_path.is_file():
            return
        faults: list[str] = []
        latest_s = 0.0
        with log_path.open(encoding="utf-8", errors="replace", newline="\n") as log:
            for number, line in enumerate(log, start=1):
                if not line.endswith("\n"):
                    break
                try:
                    event = events.from_json(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    faults.append(f"line {number} is no event of this version of splitfed ({error!r})")
                else:
                    latest_s = event.time_s
                    yield event
        if faults:
            others = f", and {len(faults) - 1:,} more" if len(faults) > 1 else ""
            yield events.Notice(message=f"{log_path}: {faults[0]}{others}: left out", time_s=latest_s)

    def save_results(self, results: Results) -> None:
        """Replace `results.json` in one step: readers see the old one or the new one, never a part.

        Raises:
            UserError: ``results`` does not fit the schema; the old file stays.
        """
        write_json(self.path / RESULTS, validate_results(without_nonfinite(results)))

    def finished_cells(self) -> list[str]:
        """The names of the cells in `results.json`, in the order in which they finished."""
        return [cell["cell"] for cell in self.results["cells"]] if self.has_results else []

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot("make the folder", folder, error) from error
        return folder


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as strict JSON, whole or not at all, also if the machine stops in between.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, _utf8(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"))


def read_json(path: Path, *, cure: str = RESTORE) -> Any:
    """What `write_json` wrote.

    Raises:
        UserError: the file is not JSON; the message says where it breaks, and ``cure``.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}; {cure}") from None


def _utf8(text: str) -> bytes:
    """JSON as UTF-8. A byte of a file name that is no text is a lone surrogate in Python, which JSON can escape."""
    return text.encode("utf-8", "backslashreplace")


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


def _append(log: IO[bytes], line: bytes) -> None:
    """Add a line to an unbuffered file; where there is room for a part of it only, take that back."""
    written = 0
    try:
        while written < len(line):
            written += log.write(line[written:])
    except OSError:
        with suppress(OSError):
            log.truncate(log.seek(0, os.SEEK_END) - written)
        raise


def _drop_unfinished_line(path: Path) -> None:
    """Cut what a killed run left after the last complete line, so that new events start on their own line."""
    if not path.is_file():
        return
    text = path.read_bytes()
    end = text.rfind(b"\n") + 1
    if end < len(text):
        os.truncate(path, end)
