"""The three classifiers learn and are trained alike, their features are scored right, and a run gets its record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from splitfed.cli import exit_codes
from splitfed.cli.main import main
from splitfed.config.scenario import Scenario
from splitfed.data import Splits
from splitfed.errors import UserError
from splitfed.experiment import feature_analysis as features
from splitfed.experiment.feature_analysis import (
    knn_accuracy,
    measure,
    ridge_reconstruction,
    train_classifier,
    umap_embedding,
)
from splitfed.experiment.images import load_images
from splitfed.experiment.provenance import provenance
from splitfed.metrics import class_mean, psnr_db
from splitfed.models.sparse import SparseCodingLayer
from splitfed.models.sparse_front import LearningSparseLayer
from splitfed.models.two_layers import TWO_LAYERS, sparse_channels, two_sparse_layers
from splitfed.records import features as feature_record
from splitfed.records.bus import Bus
from splitfed.records.events import Event, PrepareProgress
from splitfed.records.features import FeatureRecord
from splitfed.records.manifest import Manifest
from splitfed.records.store import RunStore
from splitfed.seeding import generator
from splitfed.types import ImageShape
from tests.metrics.test_fid import without
from tests.views.fabricated import run_results

ScenarioOf = Callable[..., Scenario]
NAMES = tuple(TWO_LAYERS)


def first_two(rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """In place of UMAP: the first two principal components."""
    assert seed == 0
    centered = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centered, full_matrices=False)
    return np.asarray(left[:, :2] * sizes[:2], np.float32)


def run_on_digits(root: Path, scenario: Scenario, **dataset: object) -> RunStore:
    """A finished run as far as `measure` looks: scenario and data set; its scores are made up."""
    results = run_results()
    changes = {"name": "digits", "shape": (1, 8, 8), "classes": 10, **dataset}
    images = provenance(load_images(scenario, None, Bus())[0], None)
    store = RunStore.create(root, scenario.name, Manifest.of(scenario.model_dump(mode="json"), images))
    store.save_results(results.model_copy(update={"dataset": results.dataset.model_copy(update=changes)}))
    return store


@pytest.fixture(scope="module")
def store(scenario_of: ScenarioOf, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return run_on_digits(tmp_path_factory.mktemp("runs"), scenario_of())


@pytest.fixture(scope="module")
def heard() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def record(store: RunStore, heard: list[Event]) -> FeatureRecord:
    return measure(store, embed=first_two, subscribers=[heard.append])


def test_all_three_learn_and_neighbors_and_ridge_find_more_than_chance(record: FeatureRecord) -> None:
    assert [network.layers for network in record.networks] == [*NAMES]
    assert [network.features for network in record.networks] == [48, 28 * 64, 28 * 64]
    for network in record.networks:
        assert network.accuracy > 0.5
        assert network.knn_accuracy > 0.5
        assert network.ridge_reid_top1 > 20 / 240
    linear, convolutional, _ = record.networks
    assert convolutional.ridge_psnr_db > linear.ridge_psnr_db > record.class_mean_psnr_db


def test_the_record_holds_what_it_was_made_with_and_fits_its_schema(record: FeatureRecord, tmp_path: Path) -> None:
    made = record.settings
    assert (made.train, made.ridge, made.epochs, made.batch_size, made.seed) == (480, 600, 2, 32, 0)
    assert made.versions["torch"] == torch.__version__
    assert len(record.labels) == 240
    assert {len(network.points) for network in record.networks} == {240}
    x, y = record.networks[0].points[0]
    assert (x, y) == (round(x, 3), round(y, 3))
    feature_record.save(tmp_path, record)
    assert feature_record.load(tmp_path) == record


def test_the_same_run_gives_the_same_record(store: RunStore, record: FeatureRecord) -> None:
    assert measure(store, embed=first_two) == record


def test_the_progress_is_told(record: FeatureRecord, heard: list[Event]) -> None:
    assert record
    told = [event for event in heard if isinstance(event, PrepareProgress) and event.cell in NAMES]
    assert [event.cell for event in told if event.what == "embedding"] == [*NAMES]
    assert [event.done for event in told if event.what == "training, epoch"] == [1, 2] * 3
    assert max(event.done for event in told if event.what == "first dictionary, step") == features.DICTIONARY_STEPS


def test_the_images_are_those_of_the_run(
    scenario_of: ScenarioOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained on its training images, scored on held-out ones, the ridge fitted on auxiliary ones."""
    scenario = scenario_of(data={"fallback": "phantoms"}, seed=3)
    splits = load_images(scenario, None, Bus(), of_run=run_on_digits(tmp_path, scenario))[1]
    monkeypatch.setattr(features, "SHOWN", 100)
    monkeypatch.setattr(features, "RIDGE_NUMBERS", 28 * 64 * 50)
    plan = features._plan(scenario, splits)
    assert plan.seed == 3
    assert plan.train is splits.train
    assert torch.equal(plan.shown.pixels, splits.test.pixels[:100])
    assert torch.equal(plan.known.pixels, splits.aux.pixels[:50])


def test_too_few_held_out_images_are_refused(scenario_of: ScenarioOf, tmp_path: Path) -> None:
    store = run_on_digits(tmp_path, scenario_of(data={"test": features.NEIGHBORS}))
    with pytest.raises(UserError, match="15 held-out images"):
        measure(store, embed=first_two)


def test_neighbors_vote_without_the_image_itself() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    apart = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]], np.float32)
    assert knn_accuracy(apart, labels, 2) == 1.0
    pairs = np.array([[0.0], [0.1], [5.0], [5.1], [9.0], [9.1]], np.float32)
    strangers = np.array([0, 1, 0, 1, 0, 1])  # each one's nearest is of the other class: by itself it would be right
    assert knn_accuracy(pairs, strangers, 1) == 0.0


def test_level_votes_go_to_the_nearest() -> None:
    places = np.array([[0.0], [1.0], [2.5], [100.0], [101.0]], np.float32)
    # the first and the second have each other nearest, then one of another class; the rest are alone in theirs
    assert knn_accuracy(places, np.array([0, 0, 1, 2, 3]), 2) == pytest.approx(2 / 5)


def test_neighbors_agree_with_a_search_by_hand() -> None:
    drawn = np.random.default_rng(0)
    rows, labels = drawn.normal(size=(60, 5)).astype(np.float32), drawn.integers(0, 3, 60)
    rows[:, 0] += labels
    right = 0
    for image in range(60):
        distances = np.square(rows - rows[image]).sum(axis=1)
        near = [labels[other] for other in np.argsort(distances) if other != image][:15]
        most = max(near.count(label) for label in near)
        right += next(label for label in near if near.count(label) == most) == labels[image]
    assert knn_accuracy(rows, labels, 15) == pytest.approx(right / 60)


def test_ridge_inverts_what_is_linear_and_guesses_where_there_is_nothing(digits: Splits) -> None:
    known, others = digits.aux, digits.test
    mixing = torch.randn(64, 80, generator=generator(0, "mixing"))
    seen = [images.pixels.flatten(1) @ mixing for images in (known, others)]
    rebuilt = ridge_reconstruction(seen[0], known, seen[1])
    assert rebuilt.shape == others.pixels.shape
    assert float(psnr_db(rebuilt, others.pixels).mean()) > 40
    nothing = [torch.zeros(len(images), 5) for images in (known, others)]
    blind = psnr_db(ridge_reconstruction(nothing[0], known, nothing[1]), others.pixels).mean()
    assert blind < psnr_db(class_mean(known, others), others.pixels).mean()


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_drawn_from_their_seed_alone(name: str) -> None:
    shape = ImageShape(3, 8, 8)
    torch.manual_seed(0)
    one = TWO_LAYERS[name](shape, 40, generator(0, "t")).eval()
    torch.manual_seed(1)
    other = TWO_LAYERS[name](shape, 40, generator(0, "t")).eval()
    pixels = torch.rand(4, 3, 8, 8, generator=generator(1, "t"))
    assert torch.equal(one(pixels), other(pixels))
    assert one(pixels).shape == (4, 40 if name == "two linear layers" else sparse_channels(shape) * 64)


def test_the_sparse_layers_are_the_architectures_own_and_both_dictionaries_learn(digits: Splits) -> None:
    """The first without labels and then never again, the second with the fast update after each step."""
    front = two_sparse_layers(digits.train.shape, 48, generator(0, "t"))
    kinds = [type(layer) for layer in front.body.children()]
    assert kinds == [nn.BatchNorm2d, LearningSparseLayer, nn.BatchNorm2d, nn.Flatten]
    plan = features.Plan(0, 48, 1, 32, digits.train, digits.test, digits.aux)
    drawn = front.first_layer.dictionary.clone()
    built, head = features._build(two_sparse_layers, plan, lambda *_: None)
    first, second = [layer for layer in built.modules() if isinstance(layer, SparseCodingLayer)]
    assert not torch.equal(first.dictionary, drawn)
    before = [first.dictionary.clone(), second.dictionary.clone()]
    train_classifier(built, head, digits.train, plan, lambda _: None)
    assert torch.equal(first.dictionary, before[0])
    assert not torch.equal(second.dictionary, before[1])
    for layer in (first, second):
        norms = torch.linalg.vector_norm(layer.dictionary.detach(), dim=(1, 2, 3))
        assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)


def test_without_umap_the_cure_is_said_before_anything_is_trained(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without("umap", monkeypatch)
    monkeypatch.setattr(features, "load_images", None)  # would fail if it came to that
    assert main(["report", str(store.path), "--features"]) == exit_codes.USER_MISTAKE
    written = capsys.readouterr().err
    assert "pip install 'splitfed[umap]'" in written
    assert written.count("\n") == 1
    assert not (store.path / feature_record.FILE).exists()


def test_features_are_for_the_page_only(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(store.path), "--features", "--format", "md"]) == exit_codes.USER_MISTAKE
    assert "leave out --format md" in capsys.readouterr().err


def test_the_report_gets_its_features_once_and_keeps_them(
    scenario_of: ScenarioOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = run_on_digits(tmp_path, scenario_of(federation={"rounds": 1}))
    monkeypatch.setattr(features, "umap_embedding", lambda: first_two)
    assert main(["report", str(store.path), "--features"]) == exit_codes.OK
    written = capsys.readouterr()
    assert written.out.split() == [str(store.report_path)]
    assert "two sparse coding layers: training, epoch 1/1" in written.err
    monkeypatch.setattr(features, "measure", None)  # would fail if it were trained again
    assert main(["report", str(store.path)]) == exit_codes.OK
    assert "Features of two layers" in store.report_path.read_text()


def test_interrupted_it_leaves_nothing_half_written(
    scenario_of: ScenarioOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> NDArray[np.float32]:
        raise KeyboardInterrupt

    store = run_on_digits(tmp_path, scenario_of(federation={"rounds": 1}))
    monkeypatch.setattr(features, "umap_embedding", lambda: interrupt)
    assert main(["report", str(store.path), "--features"]) == exit_codes.INTERRUPTED
    assert sorted(path.name for path in store.path.iterdir() if not path.is_dir()) == [
        "manifest.json",
        "report.html",
        "results.json",
    ]


def test_umap_embeds_by_its_seed_and_keeps_what_lies_apart() -> None:
    pytest.importorskip("umap", reason="the extra umap is not installed")
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    rows[20:] += 20
    embed = umap_embedding()
    points = embed(rows, 0)
    assert points.shape == (40, 2)
    assert np.isfinite(points).all()
    assert np.array_equal(points, embed(rows, 0))
    assert float(np.linalg.norm(points[:20].mean(axis=0) - points[20:].mean(axis=0))) > float(points[:20].std())
