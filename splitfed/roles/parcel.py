"""Lines and files as the content of a Flower Message: read as text and bytes, never as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from splitfed.files import one_reader

LINES, FILES, TEXT = "lines", "files", "text"


class Parcel(NamedTuple):
    """What one Message brings.

    Attributes:
        lines: each with its line break.
        files: contents by name.
    """

    lines: list[str]
    files: dict[str, bytes]


def pack(lines: Sequence[str], files: Mapping[str, bytes]) -> RecordDict:
    """A content that holds these lines, each of which ends with a line break, and these files."""
    arrays = {name: Array(np.frombuffer(content, np.uint8)) for name, content in files.items()}
    return RecordDict({LINES: ConfigRecord({TEXT: "".join(lines)}), FILES: ArrayRecord(arrays)})


def unpack(content: RecordDict) -> Parcel:
    """What `pack` packed; of anything else what there is of it."""
    text = content.config_records.get(LINES, ConfigRecord()).get(TEXT, "")
    with one_reader:
        arrays = content.array_records.get(FILES, ArrayRecord())
        files = {name: array.numpy().astype(np.uint8).tobytes() for name, array in arrays.items()}
    return Parcel(str(text).splitlines(keepends=True), files)
