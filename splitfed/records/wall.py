"""The wall: every private image beside what each attack makes of it, over time and at the end.

<run>/wall/
    victims.json                  `Victims`: which private images there are
    originals-<k>.png             their sheets, where the lab holds them
    <cell>/<attack>.json          `WallAttack`: its moments, and what it came to
    <cell>/<attack>@<n>.png       the sheet of a moment
    <cell>/<attack>-<k>.png       the sheets of what it came to
    <cell>/activations.npz        `WallActivations`: what crossed the wire for some of them

A *victim* is a private image of a client. Its number is its place among all training images of the run: the same for
all cells, seeds and attacks. Names of cells and attacks become file names by `files.file_name`.
"""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from splitfed.errors import UserError
from splitfed.files import cannot, file_name, one_reader, replacing
from splitfed.records.record import Record, load, save
from splitfed.records.sheets import TILES_PER_ROW, TILES_PER_SHEET

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER, VICTIMS, ACTIVATIONS = "wall", "victims.json", "activations.npz"
MOST_VICTIMS = 6000
"""That are stored, the first by number, of the originals and of each attack."""
SHOWN_VICTIMS = 48
"""In a moment."""
MOST_MOMENTS = 40
"""That are kept of an attack."""
NEAREST = 3
"""Neighbors of a reconstruction that are named."""
DAMAGED = "the other pictures are shown; run the cell again to have it anew"


class Victims(Record):
    """The private images of a run, those of the stored numbers 0 to ``count`` - 1.

    Attributes:
        height, width, channels: of a tile.
        count: how many are stored; ``of`` how many there are.
        classes: their names; ``label`` has the class of each stored image. Both are empty where nobody here knows them.
        client: by seed of a cell, in decimal, the client that holds each of them.
        sheets: the originals, in this folder, `TILES_PER_SHEET` in each; empty where the lab has none.
        candidates: among how many of them, from the first on, a reconstruction is re-identified.
    """

    schema_version: Literal[1] = Field(alias="schema")
    height: int
    width: int
    channels: int
    count: int
    of: int
    classes: tuple[str, ...]
    label: tuple[int, ...]
    client: dict[str, tuple[int, ...]]
    sheets: tuple[str, ...]
    candidates: int
    tiles_per_row: int = TILES_PER_ROW
    tiles_per_sheet: int = TILES_PER_SHEET


class WallShown(Record):
    """One moment of an attack: what it makes of some victims at this time.

    ``number`` counts the times that it showed itself, from 0; ``sheet`` has one tile per victim, in this order. Scores
    are of single images, none where nobody here knows the truth; so is a victim's number where nobody knows it.
    """

    number: int
    round: int
    epoch: int
    sheet: str
    victims: tuple[int, ...]
    psnr_db: tuple[float | None, ...] = ()
    ssim: tuple[float | None, ...] = ()


class WallFinal(Record):
    """What an attack came to, one entry per stored victim; ``of`` is how many it reconstructed.

    ``reid_rank`` is the place of the original among the candidates, by pixels of the reconstruction: 1 where it is the
    nearest. ``nearest`` names the nearest victims, the nearest first. Lists that need the truth are empty without it.
    """

    victims: tuple[int, ...]
    of: int
    sheets: tuple[str, ...]
    psnr_db: tuple[float | None, ...] = ()
    ssim: tuple[float | None, ...] = ()
    reid_rank: tuple[int, ...] = ()
    nearest: tuple[tuple[int, ...], ...] = ()


class WallAttack(Record):
    """One attack on one cell."""

    schema_version: Literal[1] = Field(alias="schema")
    cell: str
    attack: str
    is_control: bool
    moments: tuple[WallShown, ...]
    stride: int
    """Of the times that it showed itself, every so many-th is kept."""
    final: WallFinal | None = None


class WallActivations(NamedTuple):
    """What crossed the wire in the audit for some victims.

    Attributes:
        victims: their numbers, (N,).
        values: float32, (N, ...).
    """

    victims: NDArray[np.int64]
    values: NDArray[np.float32]


class WallFolder:
    """The wall of one run, for whoever writes or reads it.

    Args:
        run: the run's directory.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / FOLDER

    def cell(self, cell: str) -> Path:
        """Where the sheets of a cell lie."""
        return self.path / file_name(cell)

    def make(self, cell: str | None = None) -> Path:
        """The folder of the wall, or of a cell in it, made where it is not there.

        Raises:
            UserError: it cannot be made.
        """
        folder = self.path if cell is None else self.cell(cell)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot("make the folder", folder, error) from error
        return folder

    def save_victims(self, victims: Victims) -> None:
        """Write `victims.json`.

        Raises:
            UserError: it cannot be written.
        """
        save(self.make() / VICTIMS, victims)

    def victims(self) -> Victims | None:
        """What `save_victims` wrote; None where there is nothing.

        Raises:
            UserError: it is damaged.
        """
        path = self.path / VICTIMS
        return load(path, Victims, cure=DAMAGED) if path.is_file() else None

    def save_attack(self, attack: WallAttack) -> None:
        """Write the record of one attack.

        Raises:
            UserError: it cannot be written.
        """
        save(self.record(attack.cell, attack.attack), attack)

    def attack(self, cell: str, attack: str) -> WallAttack | None:
        """What `save_attack` wrote; None where there is nothing.

        Raises:
            UserError: it is damaged.
        """
        path = self.record(cell, attack)
        return load(path, WallAttack, cure=DAMAGED) if path.is_file() else None

    def attacks(self) -> Iterator[WallAttack]:
        """All attacks on all cells, by the names of their files; those that cannot be read are left out."""
        for path in sorted(self.path.glob("*/*.json")):
            with suppress(UserError, OSError):
                yield load(path, WallAttack, cure=DAMAGED)

    def save_activations(self, cell: str, found: WallActivations) -> None:
        """Write what crossed the wire.

        Raises:
            UserError: it cannot be written.
        """
        with replacing(self.make(cell) / ACTIVATIONS) as file:
            np.savez(file, victims=found.victims, values=found.values)

    def activations(self, cell: str) -> WallActivations | None:
        """What `save_activations` wrote; None where there is nothing that can be read."""
        path = self.cell(cell) / ACTIVATIONS
        unreadable = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
        with suppress(*unreadable), one_reader, path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return WallActivations(stored["victims"], stored["values"])
        return None

    def record(self, cell: str, attack: str) -> Path:
        """Where the record of an attack lies."""
        return self.cell(cell) / f"{file_name(attack)}.json"
