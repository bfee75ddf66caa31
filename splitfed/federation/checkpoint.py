"""What a run needs to go on from its last finished round.

Optimizers and what defenses keep start anew each round, and every random draw is seeded by its place, so front, back
and round are all there is to keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splitfed.errors import SplitfedError, UserError
from splitfed.files import cannot, write_whole


@dataclass(frozen=True)
class Checkpoint:
    """The state after `round` finished rounds; `history` holds (loss, accuracy) of each of them, `measures` what
    the defense of each client measured in the last, `missed_rounds` which client took no part in which of them, and
    `missed_because` the first reason. Checkpoints that were written before there was such a record have none."""

    round: int
    front: dict[str, Tensor]
    back: dict[str, Tensor]
    history: list[tuple[float, float]]
    traffic_bytes: int
    images_sent: int
    train_s: float
    measures: dict[int, dict[str, float]]
    missed_rounds: dict[int, list[int]] = field(default_factory=dict)
    missed_because: str = ""

    def save(self, path: Path) -> None:
        """Write to `path` in one piece: a crash leaves the old file or the new one.

        Raises:
            SplitfedError: a number is not finite; the old file stays.
            UserError: it cannot be written; PyTorch itself does not say why.
        """
        if bad := list(self._not_finite()):
            raise SplitfedError(f"round {self.round} is not kept in {path}: {bad[0]} is not finite")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = BytesIO()
        torch.save(vars(self), content)
        write_whole(path, content.getvalue())

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """What `save` wrote, or None where there is nothing.

        Raises:
            UserError: the file cannot be read, or is not one that `save` wrote, whole and with finite numbers.
        """
        if not path.is_file():
            return None
        try:
            content = path.read_bytes()
        except OSError as error:
            raise cannot("read", path, error) from error
        if not content:
            raise damaged(path, "it is empty")
        checkpoint = cls(**_entries(path, content))
        if bad := list(checkpoint._not_finite()):
            raise damaged(path, f"{bad[0]} is not finite")
        return checkpoint

    def _not_finite(self) -> Iterator[str]:
        """What has a NaN or an infinity."""
        for part, state in (("front", self.front), ("back", self.back)):
            yield from (f"{part}.{name}" for name, value in state.items() if not bool(value.isfinite().all()))
        for number, figures in enumerate(self.history, start=1):
            if not all(map(math.isfinite, figures)):
                yield f"the loss or accuracy of round {number}"


def damaged(path: Path, why: str) -> UserError:
    """What to say of a checkpoint that a run cannot go on from."""
    return UserError(
        f"{path} is damaged: {why}. Delete it, and --resume trains its cell again from the first "
        "round; other cells are kept"
    )


def _entries(path: Path, content: bytes) -> dict[str, Any]:
    """The entries of a file, which are those of a `Checkpoint`.

    Raises:
        UserError: they are not.
    """
    try:
        found = torch.load(BytesIO(content), weights_only=True)
    except Exception as error:  # PyTorch raises half a dozen kinds, by what is left of the file
        raise damaged(path, f"it is no whole checkpoint ({type(error).__name__})") from error
    known = {entry.name: entry for entry in fields(Checkpoint)}
    needed = {name for name, entry in known.items() if entry.default is entry.default_factory is MISSING}
    if not isinstance(found, dict) or not needed <= found.keys() <= known.keys():
        raise damaged(path, f"it does not hold what a checkpoint does ({', '.join(sorted(needed))})")
    return found
