"""`results.schema.json`: what `results.json` may hold, for other programs.

`python -m splitfed.records.schema` writes it anew from the models; with ``--check`` it only compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from splitfed.files import write_whole
from splitfed.records.results import Results

PUBLISHED = Path(__file__).with_name("results.schema.json")
COMMENT = "Generated from splitfed/records/results.py by python -m splitfed.records.schema; do not edit."
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The JSON schema of `results.json`, as a table."""
    return {"$schema": DIALECT, "$comment": COMMENT, **Results.model_json_schema(by_alias=True)}


def main(arguments: list[str]) -> int:
    """Write the published schema, or say whether it is what the models say; returns the exit code."""
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in arguments:
        write_whole(PUBLISHED, text.encode())
    elif PUBLISHED.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{PUBLISHED} is not what the models say: python -m splitfed.records.schema\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
