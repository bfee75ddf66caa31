"""Where clients hold the truth, their scores are those of a lab that holds it, and nothing but numbers leaves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import MetricRecord, RecordDict

from splitfed import data
from splitfed.attacker.protocol import MESSAGES, Attacked, Learned
from splitfed.experiment.attack_outcome import AttackOutcome
from splitfed.experiment.told_by_clients import ToldByClients
from splitfed.experiment.verdict import attack_score, baseline_scores
from splitfed.federation.repeated import rows_seen
from splitfed.metrics import gates
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.gates import GateResult
from splitfed.metrics.quality import psnr_db, ssim
from splitfed.metrics.reid import reid_top1
from splitfed.roles.lab_protocol import Judged, Tapped, Verdict
from splitfed.roles.scoring_protocol import JUDGE, SCORE
from splitfed.types import Images, Reconstruction
from tests.roles.truth_world import CLIENTS, FIT, JobOf, TruthWorld, trained

WorldOf = Callable[..., AbstractContextManager[TruthWorld]]

NOISE = {"ridge": 0.05, "decoder": 0.2}
HALF_DB, HALF_SSIM = 0.05 + 1e-6, 0.005 + 1e-6
"""Half a step of what is told."""


@pytest.fixture(scope="module")
def world(job_of: JobOf, digits: data.Splits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TruthWorld]:
    """A cell after its attacks, all scored and judged."""
    with trained(job_of, digits) as found:
        for name, noise in NOISE.items():
            found.attack(name, found.made(noise))
        found.conclude(tmp_path_factory.mktemp("observed"))
        yield found


@pytest.fixture
def world_of(job_of: JobOf, digits: data.Splits) -> WorldOf:
    """A cell that is trained and not attacked yet."""
    return partial(trained, job_of, digits)


def told_of(world: TruthWorld) -> ToldByClients:
    told = ToldByClients()
    for news in world.told:
        assert isinstance(news, Verdict)
        told.hear(news)
    return told


def verdicts(world: TruthWorld) -> dict[str, GateResult]:
    """The gates that need the clients."""
    reports = [report(name) for name in NOISE]
    held = fingerprint(world.result.front.state_dict())
    return {gate.name: gate for gate in told_of(world).gates(reports, world.result, held=held, coverage=1.0)}


def report(name: str) -> Attacked:
    return Attacked(attack=name, is_control=False, fit=FIT, reconstructions=f"{name}.npz", seconds=1.0)


# the same figures as in a lab that holds the truth


@pytest.mark.parametrize("name", NOISE)
def test_each_image_has_the_score_that_a_lab_gives_it(world: TruthWorld, name: str) -> None:
    truth, made = world.truth.originals(world.index), world.made(NOISE[name])
    first = 0
    for number, scored in sorted(world.scored(name).items()):
        images = len(world.clients[number].train)
        own, guessed = truth[first : first + images].pixels, made[first : first + images]
        assert scored.image == tuple(range(images))
        wanted = (
            torch.round(psnr_db(guessed, own).double(), decimals=1),
            torch.round(ssim(guessed, own).double(), decimals=2),
        )
        assert (scored.psnr_db, scored.ssim) == tuple(tuple(values.tolist()) for values in wanted)
        assert sum(scored.hit) / images == reid_top1(guessed, own).rate
        first += images
    assert first == len(truth)


@pytest.mark.parametrize("name", NOISE)
def test_means_and_intervals_are_those_of_a_lab_up_to_rounding(world: TruthWorld, name: str) -> None:
    found = told_of(world).score(name, seed=0, sent=480)
    outcome = AttackOutcome(
        report(name),
        Reconstruction(world.index, world.made(NOISE[name])),
        world.truth.originals(world.index),
    )
    wanted = attack_score(outcome, world.auxiliary, 0, 480)
    assert found is not None
    for key, half in {
        "psnr_db": HALF_DB,
        "psnr_db_p99": HALF_DB,
        "psnr_excess_db": 2 * HALF_DB,
        "ssim": HALF_SSIM,
    }.items():
        assert getattr(found, key) == pytest.approx(getattr(wanted, key), abs=half), key
    assert found.psnr_db_ci95 == pytest.approx(wanted.psnr_db_ci95, abs=HALF_DB)
    assert found.ssim_ci95 == pytest.approx(wanted.ssim_ci95, abs=HALF_SSIM)
    assert (found.n, found.sent, found.ssim_cropped) == (wanted.n, wanted.sent, wanted.ssim_cropped)
    assert found.reid_chance == pytest.approx(1 / 240)  # each client seeks among its own, a lab among all
    assert {client: score.n for client, score in found.by_client.items()} == {"0": 240, "1": 240}


def test_baselines_are_those_of_a_lab_up_to_rounding(world: TruthWorld) -> None:
    told = told_of(world)
    victims = world.truth.originals(world.index)
    known = baseline_scores(world.auxiliary, victims)
    for name in ("mean_image", "class_mean"):  # the nearest auxiliary image is an oracle's, whom nobody is here
        wanted = known[name]
        assert wanted.psnr_db is not None
        assert wanted.ssim is not None
        values = [value for scored in told.baseline(name).values() for value in scored.psnr_db]
        assert np.mean(values) == pytest.approx(wanted.psnr_db, abs=HALF_DB)
        values = [value for scored in told.baseline(name).values() for value in scored.ssim]
        assert np.mean(values) == pytest.approx(wanted.ssim, abs=HALF_SSIM)


def test_all_gates_pass_where_all_is_well(world: TruthWorld) -> None:
    assert world.unjudged == []
    assert {name: gate.passed for name, gate in verdicts(world).items()} == dict.fromkeys(
        ["tap_coverage", "scored_by_clients", "held_front", "defense_acts", "aux_disjoint", "same_classes"], True
    )


def test_the_audit_is_counted_as_a_lab_counts_it(world: TruthWorld) -> None:
    (tapped,) = [news for news in world.told if isinstance(news, Tapped)]
    seen = rows_seen(world.observed(), world.result.audited)
    assert verdicts(world)["tap_coverage"] == gates.tap_coverage(seen, 480, wanted=1.0)
    assert tapped.activation_bytes_per_image == 4 * 48


def test_held_out_images_are_counted_by_class(world: TruthWorld, digits: data.Splits) -> None:
    judged = [news for news in world.told if isinstance(news, Judged)]
    counts = np.sum([news.test_counts for news in judged], axis=0)
    assert counts.tolist() == torch.bincount(digits.test.labels).tolist()


# a gate that only clients can decide fails where it should


def test_a_tap_of_another_front_is_found_by_the_clients(world_of: WorldOf, tmp_path: Path) -> None:
    with world_of() as world:
        world.conclude(tmp_path, world.observed(scale=1.5))
        found = verdicts(world)
        assert not found["held_front"].passed
        assert "4 of 4 tapped batches were made by another front" in found["held_front"].detail
        assert not found["defense_acts"].passed
        assert found["aux_disjoint"].passed


def test_an_attacker_that_holds_a_clients_images_is_found(world_of: WorldOf, tmp_path: Path) -> None:
    with world_of() as world:
        own = world.auxiliary
        pixels = torch.cat([own.pixels, world.clients[1].train.pixels[:3]])
        mixed = Images(pixels, torch.cat([own.labels, own.labels[:3]]), own.classes)
        world.conclude(tmp_path, own=mixed)
        gate = verdicts(world)["aux_disjoint"]
        assert not gate.passed
        assert gate.detail.startswith("3 of 603 auxiliary images")


def test_class_means_of_other_classes_are_found(world_of: WorldOf, tmp_path: Path) -> None:
    with world_of() as world:
        own = world.auxiliary
        world.conclude(tmp_path, own=Images(own.pixels, own.labels, tuple(reversed(own.classes))))
        assert not verdicts(world)["same_classes"].passed


def test_what_nobody_judged_is_named_and_fails(world_of: WorldOf) -> None:
    """The attacker shows nothing of its own images: no baseline, no overlap, and clients are asked for no judgment."""
    with world_of() as world:
        world.server.conclude(RecordDict({}))
        found = verdicts(world)
        assert not any(gate.passed for gate in found.values())
        assert "not judged by client 0, client 1" in found["aux_disjoint"].detail
        assert "class_mean of client 1" in found["scored_by_clients"].detail


def test_a_client_that_scores_nothing_makes_the_cell_invalid(world_of: WorldOf, tmp_path: Path) -> None:
    with world_of(scores=0) as world:
        world.attack("ridge", world.made(0.1))
        world.conclude(tmp_path)
        gate = verdicts(world)["scored_by_clients"]
        assert not gate.passed
        assert "0 pictures of each image were scored since this client was started" in gate.detail


# what leaves whom


def test_an_answer_holds_numbers_and_no_more_than_were_asked_for(world: TruthWorld) -> None:
    """Of all that left the clients: beside numbers there is nothing, and at most five of them for each picture."""
    answers = {kind: [content for asked, content in world.app.answers if asked == kind] for kind in (SCORE, JUDGE)}
    assert {kind: len(found) for kind, found in answers.items()} == {SCORE: CLIENTS * (len(NOISE) + 2), JUDGE: CLIENTS}
    for content in (*answers[SCORE], *answers[JUDGE]):
        assert all(isinstance(record, MetricRecord) for record in content.values())
    for content in answers[SCORE]:
        (scores,) = content.values()
        assert scores.keys() <= {"image", "hit", "psnr_db", "ssim", "ssim_cropped"}
        assert {len(values) for values in scores.values() if isinstance(values, list)} <= {240}
    for content in answers[JUDGE]:
        assert sum(len(v) if isinstance(v, list) else 1 for record in content.values() for v in record.values()) <= 20


def test_the_lab_is_told_numbers_alone_and_the_attackers_words_without_its_files(world: TruthWorld) -> None:
    numbers = (int, float)
    for news in world.told:
        for name, value in news:
            if isinstance(value, tuple):
                assert all(isinstance(each, numbers) for each in value), name
            elif isinstance(value, dict):
                assert all(isinstance(each, numbers) for each in value.values()), name
            else:
                assert isinstance(value, numbers) or name in ("kind", "what"), name
    said = MESSAGES.write(Learned(attack="ridge", round=1, epoch=1, train_loss=0.5, reconstructions="live-ridge.npz"))
    left = MESSAGES.read(world.server.overhear(said.decode(), {"attack/live-ridge.npz": b"pixels"}))
    assert isinstance(left, Learned)
    assert left.reconstructions is None
    assert not [name for name in world.server._files if name.startswith("attack/")]
