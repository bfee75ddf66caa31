"""Runs that are only long, or only have many images: written as a run writes itself, of noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from splitfed.records import events
from splitfed.records.events import EVENTS, Event
from splitfed.records.manifest import Manifest, Provenance
from splitfed.records.sheets import save_sheet, save_sheets
from splitfed.records.store import RunStore
from splitfed.records.wall import SHOWN_VICTIMS, Victims, WallAttack, WallFinal, WallFolder, WallShown

CELLS, ROUNDS, CLIENTS = 20, 20, 3
OF_TRAINING = 0.8
"""The share of events that are steps of clients; the rest is of attacks."""
EDGE = 28
ATTACK = "decoder"


def long_run(root: Path, count: int) -> str:
    """A run of about so many events; its id."""
    store = _new(root, "long")
    with (store.path / "events.jsonl").open("ab") as log:
        for event in _told(count):
            log.write(EVENTS.write(event))
    return store.path.name


def wide_run(root: Path, images: int) -> str:
    """A run with so many private images and an attack on all of them; its id."""
    store = _new(root, "wide")
    drawn = np.random.default_rng(0).integers(0, 256, (images, 1, EDGE, EDGE), np.uint8)
    wall, numbers = WallFolder(store.path), tuple(range(images))
    wall.save_victims(
        Victims(
            schema=1,
            height=EDGE,
            width=EDGE,
            channels=1,
            count=images,
            of=images,
            classes=("noise",),
            label=(0,) * images,
            client={"0": tuple(number % CLIENTS for number in numbers)},
            sheets=save_sheets(wall.make(), "originals", drawn),
            candidates=images,
        )
    )
    made = drawn // 2 + 64
    folder = wall.make("none")
    scores = np.random.default_rng(1).uniform(10, 30, images).round(4)
    moment = WallShown(number=0, round=1, epoch=1, sheet=f"{ATTACK}@0.png", victims=numbers[:SHOWN_VICTIMS])
    save_sheet(folder / moment.sheet, made[:SHOWN_VICTIMS])
    final = WallFinal(
        victims=numbers,
        of=images,
        sheets=save_sheets(folder, ATTACK, made),
        psnr_db=tuple(scores.tolist()),
        ssim=tuple((scores / 40).tolist()),
        reid_rank=(1,) * images,
        nearest=tuple((number, 0, 1) for number in numbers),
    )
    wall.save_attack(
        WallAttack(schema=1, cell="none", attack=ATTACK, is_control=False, moments=(moment,), stride=1, final=final)
    )
    with store:
        for event in (_started("wide", ("none",)), _cell("none", 0.0)):
            store.append_event(event)
    return store.path.name


def _new(root: Path, name: str) -> RunStore:
    images = Provenance(name="noise", synthetic=True, identity="", images=0, image_size=EDGE, location=None, root=None)
    return RunStore.create(root, name, Manifest.of({"name": name}, images))


def _started(name: str, cells: tuple[str, ...]) -> Event:
    return events.RunStarted(scenario=name, run_dir="", threat="split", dataset="noise", synthetic=True, cells=cells)


def _cell(name: str, at_s: float) -> Event:
    return events.CellStarted(time_s=at_s, cell=name, defense=name, seed=0, rounds=ROUNDS, clients=CLIENTS)


def _told(count: int) -> Iterator[Event]:
    """What a long run says: steps of all clients in all rounds, then an attack, cell by cell."""
    names = tuple(f"cell {number}" for number in range(CELLS))
    yield _started("long", names)
    steps = int(count * OF_TRAINING / CELLS / ROUNDS / CLIENTS)
    shows = count // CELLS - steps * ROUNDS * CLIENTS
    at_s = 0.0
    for name in names:
        yield _cell(name, at_s)
        for number in range(1, ROUNDS + 1):
            for step in range(steps):
                at_s += 0.1
                yield from (_step(name, number, client, step, steps, at_s) for client in range(CLIENTS))
            yield events.RoundFinished(
                time_s=at_s, cell=name, round=number, rounds=ROUNDS, loss=1 / number, accuracy=0.5
            )
        for epoch in range(shows):
            at_s += 0.1
            yield events.AttackProgress(
                time_s=at_s,
                cell=name,
                attack=ATTACK,
                round=ROUNDS + 1,
                epoch=epoch,
                train_loss=0.1,
                psnr_db=20 + epoch / shows,
                ssim=0.5,
            )


def _step(cell: str, round_number: int, client: int, step: int, steps: int, at_s: float) -> Event:
    return events.ClientProgress(
        time_s=at_s,
        cell=cell,
        round=round_number,
        client=client,
        step=step,
        steps=steps,
        loss=1.5,
        images_per_s=900.0,
        sent_bytes=2050 * step,
    )
