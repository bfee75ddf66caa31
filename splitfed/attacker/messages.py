"""What the attacker's process says, one JSON object a line on its standard output.

It says nothing of truth, of which it has none: the lab scores the files that it names.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from splitfed.options import Options


class _Numbers(Options):
    """A message with numbers: one that is none, the loss of an attack that diverges say, arrives as it is."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


class Listening(Options):
    """The relay is up; clients may connect to `address`."""

    kind: Literal["listening"] = "listening"
    address: str


class Learned(_Numbers):
    """One unit of work is done; `reconstructions` names a file when there is a new one to look at."""

    kind: Literal["learned"] = "learned"
    attack: str
    round: int
    epoch: int
    train_loss: float
    reconstructions: str | None = None


class Fit(_Numbers):
    """What an attack says about its training with the final front (`attacks.base.FitEvidence`)."""

    first_loss: float
    last_loss: float
    parameters_moved: bool
    epochs: int
    validation_psnr_db: float
    validation_ssim: float
    plateaued: bool


class Attacked(_Numbers):
    """One attack is done: its evidence, and the file with its reconstructions of all final observations."""

    kind: Literal["attacked"] = "attacked"
    attack: str
    is_control: bool
    fit: Fit | None
    reconstructions: str
    seconds: float


class Done(Options):
    """All attacks are done.

    `front_before` and `front_after` are fingerprints of the front that the attacker held, `moved_by` the attacks that
    changed it; `observed` counts the rows that the tap saw of the final front, `unparsed` the connections that it
    could not read.
    """

    kind: Literal["done"] = "done"
    front_before: str
    front_after: str
    moved_by: tuple[str, ...] = ()
    observed: int
    unparsed: int


class Warned(Options):
    """Something that the user should know."""

    kind: Literal["warned"] = "warned"
    message: str
    level: Literal["info", "warning"] = "warning"


Message = Listening | Learned | Attacked | Done | Warned
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def parse(line: str) -> Message:
    """The message on this line.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _ADAPTER.validate_json(line)
