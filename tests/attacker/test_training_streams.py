"""Training streams are attacked where they and the fronts around them are there, and judged as what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from splitfed.attacker import protocol
from splitfed.attacker.config import AttackerConfig, ComponentConfig
from splitfed.attacker.knowledge_files import load_auxiliary
from splitfed.attacker.observed import Observed
from splitfed.attacker.protocol import Final, front_path
from splitfed.attacker.training_streams import TrainingStreams, Way, attack_training
from splitfed.attacks import ATTACKS
from splitfed.types import Observation, Phase
from splitfed.wire.observations import ObservationWriter
from tests.attacker.quick import SHAPE, WIDTH, front, images, prepare

BY_NAME = ("untrained", "ridge", "posterior_mean")


def world(folder: Path, *, last_moves: bool = True) -> AttackerConfig:
    """One round with its streams, and the fronts around it."""
    settings = prepare(folder, attacks=[ComponentConfig(name=name) for name in BY_NAME], number=200)
    after = front().state_dict()
    if last_moves:
        noise = torch.Generator().manual_seed(9)
        after = {name: value + 0.2 * torch.randn(value.shape, generator=noise) for name, value in after.items()}
    torch.save(after, front_path(settings.knowledge, 2))
    writer = ObservationWriter(settings.observations)
    with torch.no_grad():
        for step in range(3):
            seen = images(48)[slice(16 * step, 16 * step + 16)]
            writer(Observation("run", 1, 0, Phase.TRAIN, step, front()(seen.pixels), seen.labels))
    writer.close()
    return settings


def said(settings: AttackerConfig) -> list[protocol.Attacked]:
    heard: list[protocol.Attacked] = []

    def hear(message: protocol.Message) -> None:
        assert isinstance(message, protocol.Attacked)
        heard.append(message)

    observed = Observed(settings.observations, WIDTH, pytest.fail)
    auxiliary = load_auxiliary(settings.knowledge, SHAPE)
    attack_training(settings, auxiliary, observed, Final(round=2, rows=48), say=hear, check=lambda: None)
    return heard


def test_what_can_afford_it_faces_the_round_and_names_it(tmp_path: Path) -> None:
    settings = world(tmp_path)
    settings.out.mkdir()
    heard = said(settings)
    assert [each.attack for each in heard] == ["ridge@TRAIN1", "posterior_mean@TRAIN1"]
    assert {each.phase for each in heard} == {"TRAIN"}
    for each in heard:
        with np.load(settings.out / each.reconstructions) as made:
            assert made["index"].shape == (48, 4)
            assert set(made["index"][:, 0]) == {1}


def test_without_the_front_after_it_a_round_is_left_alone(tmp_path: Path) -> None:
    settings = world(tmp_path)
    front_path(settings.knowledge, 2).unlink()
    assert said(settings) == []


def test_a_round_whose_streams_are_gone_is_left_alone(tmp_path: Path) -> None:
    settings = world(tmp_path)
    (settings.observations / "train.000001.obs").unlink()
    assert said(settings) == []


@pytest.mark.parametrize("moves", [True, False])
def test_an_attack_is_judged_through_fronts_that_it_did_not_learn_from(tmp_path: Path, moves: bool) -> None:
    settings = world(tmp_path, last_moves=moves)
    streams = TrainingStreams(settings, load_auxiliary(settings.knowledge, SHAPE))
    states = []
    for number in (1, 2):
        states.append(torch.load(front_path(settings.knowledge, number), weights_only=True))
    way = Way(1, *states)
    (ridge, _) = streams.learn(way, lambda: None)
    judged, own = streams.evidence(way, ridge), ridge.evidence()
    assert judged.first_loss == own.first_loss
    if moves:
        assert judged.validation_psnr_db < own.validation_psnr_db - 0.1
    else:
        assert judged.validation_psnr_db == pytest.approx(own.validation_psnr_db, abs=1e-3)


def test_who_asks_to_stop_is_heard_between_attacks(tmp_path: Path) -> None:
    settings = world(tmp_path)
    streams = TrainingStreams(settings, load_auxiliary(settings.knowledge, SHAPE))
    state = front().state_dict()

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        streams.learn(Way(1, state, state), stop)


def test_attacks_that_face_training_are_fitted_in_closed_form() -> None:
    assert {name for name, kind in ATTACKS.items() if kind.faces_training} == {"ridge", "posterior_mean", "lmmse"}
