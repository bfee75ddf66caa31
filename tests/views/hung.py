"""A made-up wall: images of noise, and what two attacks on each cell made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from splitfed.records.sheets import save_sheet, save_sheets
from splitfed.records.wall import Victims, WallAttack, WallFinal, WallFolder, WallShown
from tests.views.fabricated import CELLS, TILE

ATTACKS = ("ridge", "decoder")


def hang(run: Path, count: int, *, cells: Sequence[str] = CELLS, truth: bool = True) -> None:
    """So many images on the wall of a run. A reconstruction is the image at the other end, in its moment the image.

    Without ``truth`` there are reconstructions alone, as an attacker by itself has them.
    """
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 1, TILE, TILE), np.uint8)
    folder, numbers = WallFolder(run), tuple(range(count))
    folder.save_victims(
        Victims(
            schema=1,
            height=TILE,
            width=TILE,
            channels=1,
            count=count,
            of=count,
            classes=("noise", "more noise") if truth else (),
            label=tuple(generator.integers(0, 2, count).tolist()) if truth else (),
            client={"0": tuple(generator.integers(0, 3, count).tolist())} if truth else {},
            sheets=save_sheets(folder.make(), "originals", images) if truth else (),
            candidates=1000 if truth else 0,
        )
    )
    for cell in cells:
        for attack in ATTACKS:
            where = folder.make(cell)
            save_sheet(where / f"{attack}@0.png", images[:48])
            folder.save_attack(
                WallAttack(
                    schema=1,
                    cell=cell,
                    attack=attack,
                    is_control=False,
                    moments=(WallShown(number=0, round=1, epoch=1, sheet=f"{attack}@0.png", victims=numbers[:48]),),
                    stride=1,
                    final=WallFinal(
                        victims=numbers,
                        of=count,
                        sheets=save_sheets(where, attack, images[::-1]),
                        psnr_db=tuple(generator.uniform(10, 30, count).round(2).tolist()) if truth else (),
                        ssim=tuple(generator.uniform(0, 1, count).round(3).tolist()) if truth else (),
                        reid_rank=tuple(generator.integers(1, 1000, count).tolist()) if truth else (),
                        nearest=tuple((0, 1, 2) for _ in numbers) if truth else (),
                    ),
                )
            )
