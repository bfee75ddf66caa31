"""Records that another version of splitfed wrote: which one reads them."""

from __future__ import annotations

import json
from typing import Any

READ_BY = {1: "splitfed 0.1.0 (commit d01c2c7)"}
"""By the schema of `results.json` and `manifest.json`, the version that reads it."""


def schema_of(text: bytes, *, first_had: str | None = None) -> int | None:
    """The schema that a record names; None where it is no JSON table, or names none.

    Args:
        text: of the record.
        first_had: a key of records of schema 1, where those did not name theirs.
    """
    try:
        table: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(table, dict):
        return None
    found = table.get("schema", 1 if first_had in table else None)
    return found if isinstance(found, int) else None


def reader_of(schema: int) -> str:
    """Which version reads this schema, in words."""
    return READ_BY.get(schema, "the version of splitfed that wrote it")
