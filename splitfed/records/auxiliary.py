"""`knowledge/auxiliary.json`: what is kept of the attacker's own images once its work is done."""

from __future__ import annotations

from splitfed.records.record import Record


class AuxiliaryIdentity(Record):
    """How many images there were, and a hash of their pixels, at 8 bits, in their order."""

    images: int
    identity: str
