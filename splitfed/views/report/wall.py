"""The wall of a report: some private images beside what became of them under every defense, and how that came about.

A report is one file that people send around, so it holds a bounded number of pictures: a few victims, by number and
never by looks, those that the run followed while attacks learned before others, and a few moments.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from splitfed.errors import UserError
from splitfed.records.sheets import load_tiles, sheet_png
from splitfed.records.wall import WallFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splitfed.records.results import Results
    from splitfed.records.wall import Victims, WallAttack, WallFinal, WallShown

MOST_VICTIMS, MOST_STEPS = 24, 10
FEWEST_VICTIMS, FEWEST_STEPS = 6, 3
MOST_BYTES = 4 << 20
"""Of all pixels together, unpacked: with less room there are fewer moments, then fewer images."""


class Extent(NamedTuple):
    """How many victims and how many moments, what the attack came to among them, a report has room for."""

    victims: int
    steps: int


def section(run: Path, results: Results) -> dict[str, Any] | None:
    """What `charts/static/reportwall.js` shows; None where the run kept no originals, or no attack came to an end."""
    folder = WallFolder(run)
    with suppress(UserError, OSError, ValueError):  # a damaged wall costs the report its wall
        victims = folder.victims()
        columns = _columns(folder, results)
        if victims is not None and victims.sheets and columns:
            return _section(folder, victims, columns)
    return None


def about(pictures: dict[str, Any], results: Results) -> str:
    """What the wall shows, and how that was chosen."""
    shown, columns = len(pictures["victims"]), len(pictures["columns"])
    return (
        f"{shown} of {results.dataset.train:,} private images, chosen by number, never by looks: each "
        f"original beside what the strongest attack made of it under {columns} defenses, with the PSNR in dB. The "
        "slider shows how that came about."
    )


def extent(tile_bytes: int, columns: int) -> Extent:
    """What fits: fewer moments first, then fewer images.

    >>> extent(784, 3), extent(784, 13), extent(12288, 13)
    (Extent(victims=24, steps=10), Extent(victims=24, steps=10), Extent(victims=8, steps=3))
    """
    room = MOST_BYTES // (tile_bytes * columns)
    steps = max(FEWEST_STEPS, min(MOST_STEPS, room // MOST_VICTIMS))
    return Extent(max(FEWEST_VICTIMS, min(MOST_VICTIMS, room // steps)), steps)


def _columns(folder: WallFolder, results: Results) -> list[WallAttack]:
    """The strongest attack on each cell, where its pictures are there."""
    found = (folder.attack(cell.cell, cell.strongest) for cell in results.cells if cell.strongest)
    return [attack for attack in found if attack is not None and attack.final is not None and attack.final.psnr_db]


def _section(folder: WallFolder, victims: Victims, columns: Sequence[WallAttack]) -> dict[str, Any] | None:
    room = extent(victims.height * victims.width * victims.channels, len(columns))
    numbers = _numbers(columns)[: room.victims]
    if not numbers:
        return None
    tiles = _Tiles(victims, numbers)
    return {
        "height": victims.height,
        "width": victims.width,
        "classes": victims.classes,
        "labels": [victims.label[number] for number in numbers],
        "victims": numbers,
        "originals": tiles.picked(folder.path, victims.sheets, range(victims.count)),
        "columns": [
            {
                "cell": column.cell,
                "attack": column.attack,
                "steps": _steps(tiles, folder.cell(column.cell), column, numbers, room.steps),
            }
            for column in columns
        ],
    }


def _numbers(columns: Sequence[WallAttack]) -> list[int]:
    """Victims that every column has, those first that its moments show."""
    finals = [set(column.final.victims) for column in columns if column.final is not None]
    shown = [set(column.moments[-1].victims) for column in columns if column.moments]
    everywhere = set.intersection(*finals)
    followed = set.intersection(everywhere, *shown)
    return [*sorted(followed), *sorted(everywhere - followed)]


def _steps(tiles: _Tiles, folder: Path, column: WallAttack, numbers: Sequence[int], most: int) -> list[dict[str, Any]]:
    """Moments at even distances, and what it came to as the last of them; those whose picture is lost are left out."""
    assert column.final is not None
    steps = list[dict[str, Any]]()
    for moment in _even(column.moments, most - 1):
        with suppress(OSError, ValueError):
            sheet = tiles.picked(folder, [moment.sheet], moment.victims)
            when = f"round {moment.round}, epoch {moment.epoch}"
            steps.append({"when": when, "sheet": sheet, **_scores(moment, numbers)})
    final = tiles.picked(folder, column.final.sheets, column.final.victims)
    return [*steps, {"when": "what it came to", "sheet": final, **_scores(column.final, numbers)}]


def _even(moments: Sequence[WallShown], most: int) -> list[WallShown]:
    places = np.linspace(0, len(moments) - 1, min(most, len(moments))).round().astype(int)
    return [moments[place] for place in dict.fromkeys(places.tolist())]


def _scores(shown: WallShown | WallFinal, numbers: Sequence[int]) -> dict[str, list[float | None]]:
    places = {number: place for place, number in enumerate(shown.victims)}

    def told(scores: Sequence[float | None]) -> list[float | None]:
        return [scores[places[number]] if number in places and scores else None for number in numbers]

    return {"psnr_db": told(shown.psnr_db), "ssim": told(shown.ssim)}


class _Tiles:
    """Single images out of the sheets of a run, as the sheet of a report; one that is not shown is black."""

    def __init__(self, victims: Victims, numbers: Sequence[int]) -> None:
        self._shape = (victims.channels, victims.height, victims.width)
        self._per_sheet = victims.tiles_per_sheet
        self._numbers = numbers

    def picked(self, folder: Path, sheets: Sequence[str], held: Sequence[int]) -> str:
        """The wanted victims out of sheets in this folder that hold these, as the address of a picture.

        Raises:
            OSError, ValueError: a sheet cannot be read.
        """
        made = np.zeros((len(self._numbers), *self._shape), np.uint8)
        places = {number: place for place, number in enumerate(held)}
        opened: dict[int, NDArray[np.uint8]] = {}
        for row, number in enumerate(self._numbers):
            if (place := places.get(number)) is None:
                continue
            sheet, tile = divmod(place, self._per_sheet)
            if sheet not in opened:
                count = min(self._per_sheet, len(held) - sheet * self._per_sheet)
                opened[sheet] = load_tiles(folder / sheets[sheet], count, *self._shape[1:])
            made[row] = opened[sheet][tile]
        return f"data:image/png;base64,{base64.b64encode(sheet_png(made)).decode()}"
