"""Writes the wall of one cell, for whoever mounts attacks: a bounded number of moments of each, and what it came to."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

from splitfed.files import file_name
from splitfed.records import events
from splitfed.records.sheets import save_sheet, save_sheets
from splitfed.records.wall import MOST_MOMENTS, WallAttack, WallFinal, WallFolder, WallShown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from splitfed.records.strips import Pixels


class WallKeeper:
    """Keeps the wall of one cell; not for use by several threads at a time.

    What an earlier attempt at the cell left is removed.

    Args:
        folder: the wall of the run.
        cell: the cell's name.
        tell: gets the events of what is new on the wall.
    """

    def __init__(self, folder: WallFolder, cell: str, tell: Callable[[events.Event], None]) -> None:
        self._folder = folder
        self._cell = cell
        self._tell = tell
        self._attacks: dict[str, WallAttack] = {}
        self._times: Counter[str] = Counter()
        shutil.rmtree(folder.cell(cell), ignore_errors=True)

    def next_moment(self, attack: str) -> int | None:
        """An attack shows itself: the number of this moment, or None where it is not to be kept."""
        number = self._times[attack]
        self._times[attack] += 1
        return None if number % self._of(attack).stride else number

    def keep_moment(
        self,
        attack: str,
        images: Pixels,
        *,
        number: int,
        round_number: int,
        epoch: int,
        victims: Sequence[int],
        **scores: Any,
    ) -> None:
        """Hang what an attack shows; every other moment goes once there are too many.

        Args:
            attack: its name.
            images: (N, C, H, W), what it makes of these victims.
            number: from `next_moment`.
            round_number: under whose front it works.
            epoch: how far it has come.
            victims: their numbers.
            scores: of each image, by the names of `WallShown`.

        Raises:
            UserError: it cannot be written.
        """
        sheet = f"{file_name(attack)}@{number}.png"
        moment = WallShown(
            number=number, round=round_number, epoch=epoch, sheet=sheet, victims=tuple(victims), **scores
        )
        save_sheet(self._folder.make(self._cell) / sheet, images)
        record = self._of(attack)
        self._save(record.model_copy(update={"moments": (*record.moments, moment)}))
        self._tell(events.WallMoment(cell=self._cell, attack=attack, **moment.model_dump()))
        self._thin(attack)

    def finish(
        self, attack: str, images: Pixels, *, is_control: bool, victims: Sequence[int], of: int, **scores: Any
    ) -> None:
        """Hang what an attack came to.

        Args:
            attack: its name.
            images: (N, C, H, W), what it made of these victims.
            is_control: whether it is a control.
            victims: their numbers.
            of: how many it reconstructed in all.
            scores: of each image, by the names of `WallFinal`.

        Raises:
            UserError: it cannot be written.
        """
        sheets = save_sheets(self._folder.make(self._cell), file_name(attack), images)
        final = WallFinal(victims=tuple(victims), of=of, sheets=sheets, **scores)
        self._save(self._of(attack).model_copy(update={"is_control": is_control, "final": final}))
        record = self._folder.record(self._cell, attack).relative_to(self._folder.path.parent)
        self._tell(events.WallFinished(cell=self._cell, attack=attack, record=record.as_posix()))

    def _of(self, attack: str) -> WallAttack:
        return self._attacks.get(attack) or WallAttack(
            schema=1, cell=self._cell, attack=attack, is_control=False, moments=(), stride=1
        )

    def _save(self, record: WallAttack) -> None:
        self._folder.save_attack(record)
        self._attacks[record.attack] = record

    def _thin(self, attack: str) -> None:
        """Drop every other moment of those that are too many."""
        record = self._of(attack)
        if len(record.moments) <= MOST_MOMENTS:
            return
        stride = 2 * record.stride
        kept = tuple(moment for moment in record.moments if moment.number % stride == 0)
        self._save(record.model_copy(update={"moments": kept, "stride": stride}))
        for moment in record.moments:
            if moment.number % stride:
                (self._folder.cell(self._cell) / moment.sheet).unlink(missing_ok=True)
