"""What an attacker of a deployment keeps for itself to look at: a run without originals and scores, which it has not.

Its folder of a cell reads as a run: `splitfed watch` shows what the attacks make of the wire. Nobody here knows which
image is behind an observation: in the place of a victim's number stands that of the observation, in the order of
clients and steps. Between rounds these are other images; in the audit they are the same each time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from splitfed.attacker import protocol
from splitfed.errors import AttackError, UserError
from splitfed.federation.job import Job
from splitfed.records import events
from splitfed.records.manifest import Manifest, Provenance
from splitfed.records.reconstructions import check_name, read_reconstruction
from splitfed.records.record import save
from splitfed.records.store import MANIFEST, RunStore
from splitfed.records.wall import MOST_VICTIMS, SHOWN_VICTIMS, Victims, WallFolder
from splitfed.records.wall_keeper import WallKeeper
from splitfed.types import Reconstruction

logger = logging.getLogger(__name__)


class AttackerJournal:
    """Writes one cell down as a run that the attacker sees from its side.

    What cannot be written costs the journal alone; a log says so, once.

    Args:
        folder: of the cell, with the attacker's reconstructions in `reconstructions.FOLDER`.
        job: the cell.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self._folder = folder
        self._job = job
        self._store = RunStore(folder)
        self._cell = job.cell.name
        self._wall = WallFolder(folder)
        self._keeper = WallKeeper(self._wall, self._cell, self._store.append_event)
        self._hung = 0
        """Observations that have a place on the wall."""
        self._failed = False
        with self._writing():
            self._begin()

    def close(self) -> None:
        """Close the log."""
        self._store.close()

    def hear(self, message: protocol.Message) -> None:
        """The attacker says this."""
        with self._writing():
            match message:
                case protocol.Learned():
                    self._learned(message)
                case protocol.Attacked():
                    self._attacked(message)
                case protocol.Warned():
                    self._store.append_event(events.Notice(message=message.message, level=message.level))

    def _begin(self) -> None:
        scenario, cell = self._job.scenario, self._job.cell
        nobodys = Provenance(
            name=scenario.data.name, synthetic=False, identity="", images=0, image_size=0, location=None, root=None
        )
        save(self._folder / MANIFEST, Manifest.of(scenario.model_dump(mode="json"), nobodys))
        self._store.append_event(
            events.RunStarted(
                scenario=scenario.name,
                run_dir=str(self._folder),
                threat=scenario.threat,
                dataset=scenario.data.name,
                synthetic=False,
                cells=(cell.name,),
            )
        )
        self._store.append_event(
            events.CellStarted(
                cell=cell.name,
                defense=cell.defense.name,
                seed=cell.seed,
                rounds=scenario.federation.rounds,
                clients=scenario.federation.clients,
            )
        )

    def _learned(self, message: protocol.Learned) -> None:
        check_name(message.attack)
        self._store.append_event(message.event(self._cell))
        if message.reconstructions is None or (number := self._keeper.next_moment(message.attack)) is None:
            return
        shown = _ordered(self._read(message.reconstructions))
        if not len(shown):
            return
        self._hang(shown)
        images = shown.images[:SHOWN_VICTIMS].numpy()
        self._keeper.keep_moment(
            message.attack,
            images,
            number=number,
            round_number=message.round,
            epoch=message.epoch,
            victims=range(len(images)),
        )

    def _attacked(self, message: protocol.Attacked) -> None:
        check_name(message.attack)
        made = _ordered(self._read(message.reconstructions))
        if not len(made):
            return
        self._hang(made)
        images = made.images[:MOST_VICTIMS].numpy()
        self._keeper.finish(
            message.attack, images, is_control=message.is_control, victims=range(len(images)), of=len(made)
        )

    def _hang(self, made: Reconstruction) -> None:
        """Have a place on the wall for each of these, without an original."""
        count = min(len(made), MOST_VICTIMS)
        if count <= self._hung:
            return
        self._hung = count
        shape = self._job.shape
        self._wall.save_victims(
            Victims(
                schema=1,
                height=shape.height,
                width=shape.width,
                channels=shape.channels,
                count=count,
                of=len(made),
                classes=(),
                label=(),
                client={str(self._job.cell.seed): tuple(made.index[:count, 1].tolist())},
                sheets=(),
                candidates=0,
            )
        )

    def _read(self, name: str) -> Reconstruction:
        return read_reconstruction(self._folder, name, self._job.shape)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (UserError, AttackError, OSError) as error:
            if not self._failed:
                self._failed = True
                logger.warning("%s: what can be watched of it is not complete: %s", self._job.run, error)


def _ordered(made: Reconstruction) -> Reconstruction:
    """By client, step and row."""
    order = np.lexsort(made.index.T[::-1])
    return Reconstruction(made.index[order], made.images[order])
