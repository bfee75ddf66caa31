"""The protocol between the lab and the attacker's process. It has three channels, each one-way:

1. **Knowledge**, lab to attacker: a folder that the attacker looks into. The lab writes it; in a deployment a
   participant does.

       knowledge/
           auxiliary.npz      pixels float32 (N, C, H, W) in [0, 1], labels int64 (N,), class names
           fronts/0003.pt     the front that every participant got at the start of round 3
           final.json         `Final`: training is over

2. **Messages**, attacker to lab: one JSON object a line on its standard output (`Message`, read and written by
   `MESSAGES`). They say nothing of truth, of which the attacker has none: the lab scores the files of reconstructions
   that they name.

3. **The life line**: the attacker's standard input, which the lab holds open (`arguments`). When it closes, however the
   lab ends, the attacker ends at once.

Both ends import this module and nothing of each other; it needs no PyTorch, so that the relay listens early.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from splitfed.attacker.changing_files import first_line, when_whole
from splitfed.errors import UserError
from splitfed.options import explain
from splitfed.records.events import AttackProgress
from splitfed.records.lines import Lines
from splitfed.records.record import Record, Spoken, save
from splitfed.types import FitEvidence

AUXILIARY, FRONTS, FINAL = "auxiliary.npz", "fronts", "final.json"
"""What lies in the folder `knowledge`."""
LIVE = "live-"
"""What the names of reconstructions begin with that are shown while an attack learns."""
LIFE_LINE = 0
"""The descriptor of the attacker's end of the life line: standard input."""


def arguments(config: Path) -> list[str]:
    """The command line that starts the attacker with the settings in this file, tied to who starts it."""
    return ["attacker", "--config", str(config), "--ends-with", str(LIFE_LINE)]


def front_path(folder: Path, round_number: int) -> Path:
    """Where the front of a round lies."""
    return folder / FRONTS / f"{round_number:04d}.pt"


def newest_front(folder: Path) -> int | None:
    """The latest round whose front is known.

    Raises:
        UserError: a front is not called by its round.
    """
    rounds = []
    for path in (folder / FRONTS).glob("*.pt"):
        if not path.stem.isdecimal() or path != front_path(folder, int(path.stem)):
            raise UserError(f"{path}: want a front to be called by its round, as 0003.pt for round 3")
        rounds.append(int(path.stem))
    return max(rounds, default=None)


def forget_fronts(folder: Path, *, before: int) -> None:
    """Delete the fronts of earlier rounds."""
    for path in (folder / FRONTS).glob("*.pt"):
        if path.stem.isdecimal() and int(path.stem) < before:
            path.unlink(missing_ok=True)


class Final(Record):
    """Training is over: the front of `round` is final, and its AUDIT streams hold `rows` images."""

    round: int = Field(ge=1)
    rows: int = Field(ge=0)

    def save(self, folder: Path) -> None:
        """Write it in one piece."""
        save(folder / FINAL, self)

    @classmethod
    def load(cls, folder: Path) -> Final | None:
        """What `save` wrote, or None while training goes on.

        Raises:
            UserError: it is no JSON, or has other keys.
        """
        path = folder / FINAL
        return when_whole(path, cls._read) if path.is_file() else None

    @classmethod
    def _read(cls, path: Path) -> Final:
        # in a deployment a person may write it: mistakes are explained as those in settings are
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise UserError(explain(error, cls, str(path))) from None
        except (OSError, ValueError) as error:
            raise UserError(f'{path}: {first_line(error)}; want JSON, as {{"round": 7, "rows": 6000}}') from error


class Listening(Spoken):
    """The attacker is up; clients may connect to `address` where it has a relay."""

    kind: Literal["listening"] = "listening"
    address: str | None


class Learned(Spoken):
    """One unit of work is done; `reconstructions` names a file when there is a new one to look at."""

    kind: Literal["learned"] = "learned"
    attack: str
    round: int
    epoch: int
    train_loss: float
    reconstructions: str | None = None

    def event(self, cell: str, **scores: Any) -> AttackProgress:
        """What whoever looks on is told, with what the listener knows of how close the attack has come."""
        return AttackProgress(
            cell=cell,
            attack=self.attack,
            round=self.round,
            epoch=self.epoch,
            train_loss=self.train_loss,
            **scores,
        )


class Attacked(Spoken):
    """One attack is done: its evidence, and the file with its reconstructions of the observations of this `phase`: of
    the final front, or of a training round, which its name then has behind an @."""

    kind: Literal["attacked"] = "attacked"
    attack: str
    phase: Literal["AUDIT", "TRAIN"] = "AUDIT"
    is_control: bool
    fit: FitEvidence | None
    reconstructions: str
    seconds: float


class Done(Spoken):
    """All attacks are done.

    `front_before` and `front_after` are fingerprints of the front that the attacker held, `moved_by` the attacks that
    changed it; `observed` counts the rows that were seen of the final front, `unparsed` the connections that the tap
    could not read, `ciphertext` those of them that were under TLS.
    """

    kind: Literal["done"] = "done"
    front_before: str
    front_after: str
    moved_by: tuple[str, ...] = ()
    observed: int
    unparsed: int
    ciphertext: int = 0


class Warned(Spoken):
    """Something that the user should know."""

    kind: Literal["warned"] = "warned"
    message: str
    level: Literal["info", "warning"] = "warning"


Message = Listening | Learned | Attacked | Done | Warned
MESSAGES = Lines[Message](Message, "kind")
"""Reads and writes them."""
