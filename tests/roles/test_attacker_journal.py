"""What an attacker of a deployment can watch: what it makes of the wire, and nothing that it cannot know."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from splitfed.attacker import protocol
from splitfed.federation.job import Job
from splitfed.records import events
from splitfed.records.sheets import load_tiles
from splitfed.records.store import RunStore
from splitfed.records.wall import SHOWN_VICTIMS, WallFolder
from splitfed.roles.attacker_journal import AttackerJournal

AUDIT = 3
SHUFFLED = np.random.default_rng(0).permutation(60)


class Written:
    """A journal of a cell, of which the test is the attack; its images tell their place in the audit."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.folder = folder
        (folder / "attack").mkdir(parents=True)
        self.journal = AttackerJournal(folder, job)
        self._shape = job.shape

    def write(self, name: str, round_number: int = AUDIT) -> str:
        """Sixty reconstructions in no order: of three clients, two steps and ten rows."""
        index = np.array([[round_number, n // 20, n // 10 % 2, n % 10] for n in SHUFFLED], np.int64)
        images = np.zeros((60, *self._shape), np.float32) + SHUFFLED[:, None, None, None].astype(np.float32) / 255
        np.savez(self.folder / "attack" / name, index=index, images=images)
        return name

    def attack(self) -> None:
        """What an attack says from its first unit of work to its end."""
        self.journal.hear(protocol.Learned(attack="ridge", round=1, epoch=1, train_loss=0.5))
        for epoch in (1, 2):
            shown = self.write("live-ridge.npz")
            learned = protocol.Learned(attack="ridge", round=AUDIT, epoch=epoch, train_loss=0.4, reconstructions=shown)
            self.journal.hear(learned)
        made = self.write("ridge.npz")
        self.journal.hear(
            protocol.Attacked(attack="ridge", is_control=False, fit=None, reconstructions=made, seconds=1.0)
        )
        self.journal.hear(protocol.Warned(message="a word"))
        self.journal.close()


@pytest.fixture
def written(job_of: Callable[..., Job], tmp_path: Path) -> Written:
    return Written(job_of(), tmp_path / "small%2Fcell")


def test_it_is_a_run_without_truth(written: Written) -> None:
    written.attack()
    store = RunStore.open(written.folder)
    said = list(store.read_events())
    assert [event.event for event in said] == [
        *("RunStarted", "CellStarted", "AttackProgress", "AttackProgress", "WallMoment", "AttackProgress"),
        *("WallMoment", "WallFinished", "Notice"),
    ]
    for event in said:
        if isinstance(event, events.AttackProgress):
            assert (event.psnr_db, event.ssim, event.reid_top1, event.strip) == (None,) * 4
    victims = WallFolder(store.path).victims()
    assert victims is not None
    assert victims.count == 60
    assert (victims.sheets, victims.label, victims.classes) == ((), (), ())
    assert victims.client == {"0": tuple(number // 20 for number in range(60))}
    assert store.manifest.images.images == 0


def test_reconstructions_hang_in_the_order_of_the_audit(written: Written) -> None:
    written.attack()
    wall = WallFolder(written.folder)
    attack = wall.attack("none", "ridge")
    assert attack is not None
    assert attack.final is not None
    tiles = load_tiles(wall.cell("none") / attack.final.sheets[0], 60, 8, 8)
    assert tiles[:, 0, 0, 0].tolist() == list(range(60))
    final = attack.final
    assert (final.psnr_db, final.ssim, final.reid_rank, final.nearest) == ((),) * 4
    for moment in attack.moments:
        assert moment.victims == tuple(range(SHOWN_VICTIMS))
        shown = load_tiles(wall.cell("none") / moment.sheet, SHOWN_VICTIMS, 8, 8)
        assert np.array_equal(shown, tiles[:SHOWN_VICTIMS])


def test_what_cannot_be_written_costs_the_journal_alone(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    (written.folder / "wall").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        written.attack()
    (said,) = caplog.messages
    assert "what can be watched of it is not complete" in said
    assert [event.event for event in RunStore.open(written.folder).read_events()].count("AttackProgress") == 3


@pytest.mark.parametrize("name", ["../../manifest.json", "gone.npz"])
def test_a_file_elsewhere_is_not_shown(written: Written, name: str) -> None:
    learned = protocol.Learned(attack="ridge", round=1, epoch=1, train_loss=0.1, reconstructions=name)
    written.journal.hear(learned)
    written.journal.close()
    assert WallFolder(written.folder).victims() is None
