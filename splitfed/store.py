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
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from splitfed import events
from splitfed.errors import UserError
from splitfed.results import Results, validate_results, without_nonfinite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = ["Results", "RunStore"]

MANIFEST, EVENTS, RESULTS, REPORT = "manifest.json", "events.jsonl", "results.json", "report.html"


class RunStore:
    """One run directory, open for reading and for adding to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._event_log: IO[str] | None = None

    @classmethod
    def create(cls, root: Path, scenario_name: str, manifest: Mapping[str, Any]) -> RunStore:
        """A new run directory under ``root`` with its manifest, to which ``created`` (ISO 8601) is added."""
        store = cls(_new_directory(root, scenario_name))
        created = datetime.now(UTC).isoformat(timespec="milliseconds")
        write_json(store.path / MANIFEST, {"created": created, **manifest})
        return store

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """An existing run directory.

        Raises:
            UserError: there is none at ``path``.
        """
        if not (path / MANIFEST).is_file():
            raise UserError(
                f"{path} is no run: it has no {MANIFEST}. Name a directory that `splitfed scenario` made, "
                "such as runs/<scenario>-<time>"
            )
        return cls(path)

    @classmethod
    def latest(cls, root: Path) -> RunStore:
        """The run under ``root`` that was created last.

        Raises:
            UserError: there is none.
        """
        runs = [cls(manifest.parent) for manifest in root.glob(f"*/{MANIFEST}")]
        if not runs:
            raise UserError(f"no run under {root}: start one with `splitfed scenario NAME`, or name its path")
        return max(runs, key=lambda run: (str(run.manifest.get("created", "")), run.path.name))

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
        """What `create` wrote."""
        manifest: dict[str, Any] = read_json(self.path / MANIFEST)
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
        return validate_results(read_json(self.path / RESULTS))

    @property
    def report_path(self) -> Path:
        """Where `views.report.write_report` puts the page."""
        return self.path / REPORT

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
        """Add one line to `events.jsonl`, visible to readers at once; a subscriber of `events.Bus`."""
        if self._event_log is None:
            log_path = self.path / EVENTS
            _drop_unfinished_line(log_path)
            self._event_log = log_path.open("a", encoding="utf-8")
        self._event_log.write(json.dumps(events.to_json(event), ensure_ascii=False) + "\n")
        self._event_log.flush()

    def read_events(self) -> Iterator[events.Event]:
        """All events so far; a last line that is still being written (or was cut off) is left out.

        Raises:
            UserError: a complete line is no event of this version.
        """
        log_path = self.path / EVENTS
        if not log_path.is_file():
            return
        with log_path.open(encoding="utf-8", newline="\n") as log:
            for number, line in enumerate(log, start=1):
                if not line.endswith("\n"):
                    return
                yield _parse_event(line, f"{log_path} line {number}")

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
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def file_name(name: str) -> str:
    """A file name for any name; different names stay different.

    >>> file_name("sca 0.5/seed 1")
    'sca%200.5%2Fseed%201'
    """
    quoted = quote(name, safe="=,+@()")
    return quoted.replace(".", "%2E") if quoted.strip(".") == "" else quoted


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as strict JSON, whole or not at all, also if the machine stops in between."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as draft:
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
    draft_path = Path(draft.name)
    draft_path.chmod(0o644)  # temporary files are private; a run may be read by others
    draft_path.replace(path)


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        UserError: the file is not JSON; the message says where it breaks.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from None


def _new_directory(root: Path, scenario_name: str) -> Path:
    stem = re.sub(r"[^\w.-]+", "-", scenario_name).strip(".-") or "run"
    base = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    root.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        path = root / (base if attempt == 1 else f"{base}-{attempt}")
        try:
            path.mkdir()  # two runs that start in the same second: one makes it, the other counts on
        except FileExistsError:
            attempt += 1
        else:
            return path


def _drop_unfinished_line(path: Path) -> None:
    """Cut what a killed run left after the last complete line, so that new events start on their own line."""
    if not path.is_file():
        return
    text = path.read_bytes()
    end = text.rfind(b"\n") + 1
    if end < len(text):
        os.truncate(path, end)


def _parse_event(line: str, where: str) -> events.Event:
    try:
        return events.from_json(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where} is no event of this version of splitfed: {error!r}") from None
