"""`manifest.json`: what a run was started with; written once, when it starts."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from splitfed.errors import UserError
from splitfed.records import machine
from splitfed.records.record import RESTORE, Record, misfit, of_json
from splitfed.records.versions import reader_of, schema_of

SCHEMA: Final = 2
"""That of `results.json`: a version that reads the one reads the other."""


class Provenance(Record):
    """Where a run's images came from. Two data sets of the same `identity` give the same images to the same clients.

    ``name`` is the data set's, the stand-in's where one stood in; ``image_size`` is the edge of the images in pixels.
    ``location`` is the folder or file that was read, None for what is drawn or ships with a package; ``root`` the
    folder below which it was found, None where the user named it, or there is none. A lab that holds no images has 0 of
    them.
    """

    name: str
    synthetic: bool
    identity: str
    images: int = Field(ge=0)
    image_size: int = Field(ge=0)
    location: Path | None
    root: Path | None


class Manifest(Record):
    """What a reader needs to repeat a run, or to judge its timings.

    ``created`` is ISO 8601; ``scenario`` the settings as a table, which `config.recorded` reads. ``cores`` are those
    that the process could use; a version is None for a package that is not installed, ``commit`` outside a checkout of
    splitfed. ``modified`` says whether tracked files differ from it.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[2] = Field(alias="schema")
    created: str
    scenario: dict[str, JsonValue]
    images: Provenance
    python: str
    platform: str
    cpu: str
    cores: int
    memory_bytes: int
    versions: dict[str, str | None]
    commit: str | None
    modified: bool | None

    @classmethod
    def of(cls, scenario: Mapping[str, Any], images: Provenance) -> Self:
        """The manifest of a run that is started now, on this machine."""
        commit, modified = machine.commit()
        return cls(
            schema=SCHEMA,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            scenario=dict(scenario),
            images=images,
            python=platform.python_version(),
            platform=platform.platform(),
            cpu=machine.cpu_model(),
            cores=machine.usable_cores(),
            memory_bytes=machine.memory_bytes(),
            versions=machine.versions(),
            commit=commit,
            modified=modified,
        )


def read_manifest(path: Path) -> Manifest:
    """What a run wrote when it was started.

    Raises:
        UserError: it is damaged, or of another version of splitfed; the message says which reads it.
    """
    text = path.read_bytes()
    try:
        return of_json(TypeAdapter(Manifest), text)
    except ValidationError as error:
        raise UserError(_of_another_version(path, text) or misfit(path, error, RESTORE)) from None


def _of_another_version(path: Path, text: bytes) -> str | None:
    """What to say of a run that another version started; None where that is not the fault."""
    found = schema_of(text, first_had="created")
    if found in (None, SCHEMA):
        return None
    cure = f"go on with it, or read it, in {reader_of(found)}, or start a new run"
    return f"{path} is of schema {found}, this version reads schema {SCHEMA}: {cure}"
