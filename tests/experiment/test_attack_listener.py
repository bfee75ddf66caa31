"""What a hostile attacker says costs it its score, and nobody else anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from splitfed.attacker import protocol
from splitfed.experiment.attack_listener import AttackListener
from splitfed.experiment.truth import Truth
from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.metrics.gates import attack_learned
from splitfed.records import events
from splitfed.records.bus import Bus
from splitfed.records.events import Event
from splitfed.records.store import RunStore
from splitfed.types import FitEvidence
from tests.views.fabricated import manifest

AUDIT = 3
"""Of a job with two rounds."""
ROWS = np.array([[AUDIT, client, 0, row] for client in range(3) for row in range(4)])
FIT = FitEvidence(
    first_loss=1.0,
    last_loss=0.5,
    parameters_moved=True,
    epochs=1,
    validation_psnr_db=12.0,
    validation_ssim=0.3,
    plateaued=True,
)


class World:
    """One cell with an attacker of which the test is the voice."""

    def __init__(self, job: Job, shares: Sequence[ClientImages], folder: Path) -> None:
        self.heard: list[Event] = []
        self.store = RunStore.create(folder, "small", manifest())
        self.truth = Truth(job, shares)
        self.live = AttackListener("none", self.truth, self.store, Bus(self.heard.append))
        self.attack = self.store.cell_dir("none") / "attack"
        self.attack.mkdir()
        self._shape = job.shape

    def write(self, index: np.ndarray = ROWS, name: str = "ridge.npz") -> None:
        np.savez(self.attack / name, index=index, images=np.full((len(index), *self._shape), 0.5, np.float32))

    def say(
        self,
        *,
        attack: str = "ridge",
        file: str = "ridge.npz",
        fit: FitEvidence | None = FIT,
        phase: Literal["AUDIT", "TRAIN"] = "AUDIT",
    ) -> None:
        self.live.hear(
            protocol.Attacked(attack=attack, phase=phase, is_control=False, fit=fit, reconstructions=file, seconds=1.0)
        )

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.heard if isinstance(event, events.Notice)]


@pytest.fixture
def world(job_of: Callable[..., Job], shares: list[ClientImages], tmp_path: Path) -> World:
    return World(job_of(), shares, tmp_path)


def test_an_honest_attack_is_scored(world: World) -> None:
    world.write()
    world.say()
    (outcome,) = world.live.outcomes()
    assert len(outcome.truth) == len(ROWS)
    assert world.live.refused == {}
    assert world.notices == []
    (progress,) = world.heard
    assert isinstance(progress, events.AttackProgress)
    assert progress.strip == "images/none-ridge.png"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([AUDIT, 0, 999, 0], "round 3, client 0, step 999, row 0 names no image"),
        ([AUDIT, 0, 0, 32], "row 32 names no image"),
        ([AUDIT, 0, -1, 0], "step -1, row 0 names no image"),
        ([AUDIT, 0, 0, -1], "row -1 names no image"),
        ([AUDIT, 3, 0, 0], "client 3, step 0, row 0 names no image"),
        ([AUDIT, -1, 0, 0], "client -1, step 0, row 0 names no image"),
        ([AUDIT + 1, 0, 0, 0], "round 4, client 0"),
        ([0, 0, 0, 0], "round 0, client 0"),
        ([2**62, 2**62, 2**62, 2**62], "names no image"),
    ],
)
def test_a_row_that_names_no_image_costs_the_attack_its_score(world: World, row: list[int], why: str) -> None:
    world.write(np.array([*ROWS.tolist(), row]))
    world.write(name="decoder.npz")
    world.live.hear(protocol.Learned(attack="ridge", round=2, epoch=1, train_loss=0.1, reconstructions="ridge.npz"))
    world.say()
    world.say(attack="decoder", file="decoder.npz")
    assert [outcome.report.attack for outcome in world.live.outcomes()] == ["decoder"]
    assert why in world.live.refused["ridge"]
    shown, finished = world.notices
    assert shown.startswith("none: attack ridge: what it shows meanwhile is refused and not scored: ")
    assert finished.startswith("none: attack ridge: its result is refused and not scored: ")
    assert why in finished


@pytest.mark.parametrize("file", ["../../../manifest.json", "gone.npz", "a\0b", "link.npz"])
def test_a_file_elsewhere_costs_the_attack_its_score(world: World, file: str) -> None:
    world.write(name="../outside.npz")
    (world.attack / "link.npz").symlink_to(world.attack.parent / "outside.npz")
    world.say(file=file)
    assert world.live.outcomes() == []
    (notice,) = world.notices
    assert "its result is refused and not scored" in notice
    gate = attack_learned({}, world.live.refused)
    assert not gate.passed
    assert "ridge has no score" in gate.detail


@pytest.mark.parametrize("attack", ["", "\x1b[2Jridge", "a" * 1000])
def test_a_name_that_a_terminal_would_obey_is_refused(world: World, attack: str) -> None:
    world.write()
    world.say(attack=attack)
    assert world.live.outcomes() == []
    (notice,) = world.notices
    assert "expected 1 to 200 printable characters" in notice
    assert notice.isprintable()


def test_a_name_that_is_a_path_is_one_file_in_the_folder_of_pictures(world: World) -> None:
    world.write()
    world.say(attack="../../up")
    assert [path.name for path in world.store.images_dir.iterdir()] == ["none-..%2F..%2Fup.png"]
    assert {path.name for path in world.store.path.iterdir()} == {"manifest.json", "cells", "images"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["first_loss", "last_loss", "validation_psnr_db", "validation_ssim"])
def test_numbers_that_are_none_cost_the_attack_its_score(world: World, field: str, number: float) -> None:
    world.write()
    line = protocol.Attacked(
        attack="ridge",
        is_control=False,
        fit=FitEvidence(**{**vars(FIT), field: number}),
        reconstructions="ridge.npz",
        seconds=1.0,
    ).model_dump_json()
    world.live.hear(protocol.MESSAGES.read(line))
    assert world.live.outcomes() == []
    assert world.notices == [f"none: attack ridge: its result is refused and not scored: its {field} is {number}"]


def test_a_loss_that_is_no_number_is_shown_as_it_is(world: World) -> None:
    line = protocol.Learned(attack="ridge", round=1, epoch=1, train_loss=math.nan).model_dump_json()
    world.live.hear(protocol.MESSAGES.read(line))
    (progress,) = world.heard
    assert isinstance(progress, events.AttackProgress)
    assert math.isnan(progress.train_loss)


def test_what_is_shown_is_refused_once_however_often_it_comes(world: World) -> None:
    for epoch in range(5):
        world.live.hear(
            protocol.Learned(attack="ridge", round=1, epoch=epoch, train_loss=0.1, reconstructions="gone.npz")
        )
    assert len(world.notices) == 1
    assert world.live.refused == {}  # what counts is the result


def test_a_warning_is_shown_without_what_a_terminal_would_obey(world: World) -> None:
    world.live.hear(protocol.Warned(message="\x1b[2J" + "a" * 10_000))
    (notice,) = world.notices
    assert notice.startswith("none: ?[2Ja")
    assert len(notice) < 3000


def test_a_strip_that_cannot_be_written_costs_the_attack_nothing(world: World) -> None:
    world.write()
    (world.store.images_dir / "none-ridge.png").mkdir()
    world.say()
    assert len(world.live.outcomes()) == 1
    (notice,) = world.notices
    assert "cannot write" in notice


TRAINED = np.column_stack([np.full(len(ROWS), 1), ROWS[:, 1:]])
"""The first rows of each client's streams in round 1, whose order is another than that of the audit."""


def test_an_attack_on_training_is_scored_on_what_was_sent_then(world: World) -> None:
    world.write(TRAINED, "ridge@TRAIN1.npz")
    world.say(attack="ridge@TRAIN1", file="ridge@TRAIN1.npz", phase="TRAIN")
    (outcome,) = world.live.outcomes()
    assert outcome.audited is not None
    assert set(outcome.audited[:, 0]) == {AUDIT}
    audited = world.truth.originals(outcome.of_audited.index)
    assert bool((outcome.truth.pixels == audited.pixels).all())
    assert outcome.sent == world.truth.sent(1)
    assert world.notices == []


def test_an_attack_on_training_that_names_the_audit_costs_it_its_score(world: World) -> None:
    world.write(ROWS)
    world.say(phase="TRAIN")
    assert world.live.outcomes() == []
    assert "a training round was expected" in world.live.refused["ridge"]
