"""What every record is: written and read by one class, which refuses a key that it does not know or that is missing."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from splitfed.errors import UserError
from splitfed.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

RESTORE = "restore it from a copy of this run"

Kind = TypeVar("Kind", bound="Record")
Value = TypeVar("Value")


class Record(BaseModel):
    """The base of all records: frozen, no other keys than its own, no value of a type that only looks like its own.

    Numbers that are not finite have no JSON form: they are written as null, unless a record says otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Spoken(Record):
    """The base of records that are one line each: a number that is none, a loss that diverges say, arrives as it is."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


def to_json(record: BaseModel, *, indent: int | None = None) -> bytes:
    """A record as JSON in UTF-8, without a line break at its end. In a key, what is no text becomes U+FFFD."""
    try:
        return record.model_dump_json(by_alias=True, indent=indent).encode()
    except PydanticSerializationError:
        # a byte of a file name that is no text is a lone surrogate in Python, which JSON can escape
        plain = record.model_dump(mode="json", by_alias=True)
        return json.dumps(plain, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")


def of_json(kind: TypeAdapter[Value], text: bytes | str) -> Value:
    """What `to_json` wrote.

    Raises:
        pydantic.ValidationError: it is no JSON, or no such record.
    """
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        found = _with_lone_surrogates(text)
        if found is None or error.errors()[0]["type"] != "json_invalid":
            raise
    return kind.validate_python(found, strict=False)  # it has a list where a record has a tuple


def _with_lone_surrogates(text: bytes | str) -> Any:
    """What Python reads in JSON with an escaped surrogate, which pydantic does not read; None where there is none."""
    decoded = text if isinstance(text, str) else text.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        return json.loads(decoded) if "\\ud" in decoded.lower() else None
    return None


def save(path: Path, record: Record) -> None:
    """Write a record to a file of its own, whole or not at all, also if the machine stops in between.

    Raises:
        UserError: the file cannot be written.
    """
    write_whole(path, to_json(record, indent=2) + b"\n")


def load(path: Path, kind: type[Kind], *, cure: str = RESTORE) -> Kind:
    """What `save` wrote.

    Raises:
        UserError: the file is no such record; the message says what does not fit, and ``cure``.
    """
    try:
        return of_json(TypeAdapter(kind), path.read_bytes())
    except ValidationError as error:
        raise UserError(misfit(path, error, cure)) from None


def misfit(path: Path, error: ValidationError, cure: str) -> str:
    """What to say of a file that is no such record: where it breaks, or which of its keys do not fit."""
    found = faults(error)
    if error.errors()[0]["type"] == "json_invalid":
        return f"{path} is damaged: {found[0]}; {cure}"
    return f"{path} is damaged or of another version of splitfed ({'; '.join(found)}); {cure}"


def faults(error: ValidationError) -> list[str]:
    """One line per fault: where, and what is wrong there."""
    return [_fault(dict(item)) for item in error.errors()]


def _fault(item: dict[str, Any]) -> str:
    what = str(item["msg"]).removeprefix("Value error, ")
    where = ".".join(map(str, item["loc"]))
    return f"{where}: {what}" if where else what
