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


class Agreed(Spoken):
    """What the clients say that they all hold alike, in a run whose lab has no images."""

    kind: Literal["agreed"] = "agreed"
    shape: tuple[int, int, int]
    classes: int


class Scored(Spoken):
    """How a client scores what was made of its own images: lists over the same images, rounded
    (`metrics.by_image.DECIMALS`).

    `image` says which of its training images; `hit`, of the first of them, whether the picture's nearest original among
    these is its own. `baseline` tells a predictor that saw no activation from an attack.
    """

    kind: Literal["scored"] = "scored"
    what: str
    baseline: bool
    client: int
    image: tuple[int, ...]
    hit: tuple[int, ...]
    psnr_db: tuple[float, ...]
    ssim: tuple[float, ...]
    ssim_cropped: tuple[float, ...]


class Tapped(Spoken):
    """What the attacker has of the audit: images by the client's number, and what one takes at the cut."""

    kind: Literal["tapped"] = "tapped"
    rows: dict[str, int]
    activation_bytes_per_image: float


class Judged(Spoken):
    """What a client finds where its own images are needed.

    Attributes:
        checked: tapped batches that it made once more.
        differing: those of them that came out otherwise.
        findings: what the defense says of itself, at this client's tapped batches.
        failed: those of them by which it does not act.
        shared: images of the attacker's own that are among the client's.
        auxiliary: how many it was shown.
        same_classes: whether its classes are those of the attacker's images, in their order.
        synthetic: whether its images are drawn.
        test_counts: its held-out images of each class.
        figures: what the defense reports beside the scores.
    """

    kind: Literal["judged"] = "judged"
    client: int
    checked: int
    differing: int
    findings: int
    failed: int
    shared: int
    auxiliary: int
    same_classes: bool
    synthetic: bool
    test_counts: tuple[int, ...]
    figures: dict[str, float]


class Unjudged(Spoken):
    """What nobody says, of a client where it has a number, and why."""

    kind: Literal["unjudged"] = "unjudged"
    what: str
    client: int | None
    reason: str


class Over(Spoken):
    """Nothing more comes of this cell."""

    kind: Literal["over"] = "over"


Verdict = Agreed | Scored | Tapped | Judged | Unjudged
"""What comes from the clients, where they hold the truth and the lab does not."""
News = Happened | Overheard | Trained | Failed | Over | Verdict
NEWS = Lines[News](News, "kind")
"""Reads and writes them."""
