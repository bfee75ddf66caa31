"""Records of several kinds, one a line: the events of a run, and what the attacker's process says."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field, TypeAdapter

from splitfed.records.record import Spoken, of_json, to_json

Line = TypeVar("Line", bound=Spoken)


class Lines(Generic[Line]):
    """Reads and writes one record a line, whose kind a key tells.

    Args:
        kinds: all that a line may be, as a union.
        tag: the key that tells them apart.
    """

    def __init__(self, kinds: Any, tag: str) -> None:
        self._adapter: TypeAdapter[Line] = TypeAdapter(Annotated[kinds, Field(discriminator=tag)])

    def read(self, line: bytes | str) -> Line:
        """The record on this line.

        Raises:
            pydantic.ValidationError: it is none of these.
        """
        return of_json(self._adapter, line)

    @staticmethod
    def write(record: Spoken) -> bytes:
        """A record as a line, with its end."""
        return to_json(record) + b"\n"
