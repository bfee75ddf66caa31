"""What the server tells the lab of a cell that the lab ordered, one line each, with files beside them.

The lab is a node of the federation, in the role `LAB`. The server sends it a Message of the type `TELL` with all that
is new, and takes it for heard once it is answered; what was not is sent again, so that the lab passes over lines that
it has heard already.
"""

from __future__ import annotations

from typing import Literal

from splitfed.records.lines import Lines
from splitfed.records.record import Spoken

LAB = "lab"
"""The role of a node that orders cells and knows their truth."""
TELL = "query.tell"
"""The type of the Message that brings news."""
NUMBER = "number"
"""The key under which a Message says how many lines came before its own."""
KEY = "key"
"""The key under which a Message shows that it is of the server that holds the order."""
RESULT = "result.pt"
"""The file beside `Trained`."""
OBSERVATIONS, ATTACK = "observations/", "attack/"
"""What the names of files begin with that the tap recorded, and that the attacker made."""


class Happened(Spoken):
    """An event of the training, as a line of `records.events.EVENTS`."""

    kind: Literal["happened"] = "happened"
    event: str


class Overheard(Spoken):
    """What the attacker says, as a line of `attacker.protocol.MESSAGES`; files that it names are beside it."""

    kind: Literal["overheard"] = "overheard"
    message: str


class Trained(Spoken):
    """Training and audit are over; `RESULT` is beside it."""

    kind: Literal["trained"] = "trained"


class Failed(Spoken):
    """There is no result; `by_settings` says that another try with the same settings has none either."""

    kind: Literal["failed"] = "failed"
    reason: str
    by_settings: bool


class Over(Spoken):
    """Nothing more comes of this cell."""

    kind: Literal["over"] = "over"


News = Happened | Overheard | Trained | Failed | Over
NEWS = Lines[News](News, "kind")
"""Reads and writes them."""
