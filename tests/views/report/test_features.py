"""Embeddings are drawn where their numbers say, every class has a mark of its own, and scores stand beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from splitfed.errors import UserError
from splitfed.records import features as feature_record
from splitfed.records.features import FeatureRecord, FeatureSettings, NetworkFeatures
from splitfed.records.store import RunStore
from splitfed.views.report import features
from splitfed.views.report.report import write_report
from tests.views.fabricated import manifest, run_results


def network(layers: str, points: list[tuple[float, float]], **scores: float) -> NetworkFeatures:
    return NetworkFeatures(
        layers=layers,
        features=21952,
        accuracy=scores.get("accuracy", 0.99),
        knn_accuracy=scores.get("knn_accuracy", 0.712),
        ridge_psnr_db=scores.get("ridge_psnr_db", 30.1),
        ridge_reid_top1=0.508,
        points=tuple(points),
    )


def record_of(*networks: NetworkFeatures, labels: list[int], classes: list[str]) -> FeatureRecord:
    settings = FeatureSettings(
        seed=7,
        epochs=4,
        batch_size=32,
        optimizer="Adam",
        learning_rate=0.001,
        train=768,
        ridge=1000,
        neighbors=15,
        l1_weight=0.5,
        kernel_size=5,
        versions={"umap-learn": "0.5.12"},
    )
    return FeatureRecord(
        schema=feature_record.SCHEMA,
        classes=tuple(classes),
        labels=tuple(labels),
        class_mean_psnr_db=19.4,
        networks=networks,
        settings=settings,
    )


@pytest.fixture
def record() -> FeatureRecord:
    points = [(0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (1.0, 1.0)]
    three = [network(f"two {kind} layers", points) for kind in ("linear", "convolutional", "sparse coding")]
    return record_of(*three, labels=[0, 1, 1, 0], classes=["Hand", "Head <CT>"])


def test_each_network_is_a_panel_with_a_place_for_every_image(record: FeatureRecord) -> None:
    figure = features.figure(record)
    assert figure["kind"] == "embedding"
    assert [panel["title"] for panel in figure["panels"]] == [network.layers for network in record.networks]
    assert figure["panels"][0]["points"] == record.networks[0].points
    assert figure["labels"] == (0, 1, 1, 0)
    assert "two linear layers, two convolutional layers" in figure["title"]


def test_the_caption_says_what_umap_does_and_the_table_what_it_cannot(record: FeatureRecord) -> None:
    cells = [cell for row in features.scores(record).rows for cell in row.cells]
    shown = " ".join(
        [*features.figure(record)["classes"], features.caption(record), *features.scores(record).header, *cells]
    )
    for said in (
        "UMAP (0.5.12, seeded", "distorts distances", "768 training images", "Adam at 0.001, 4 epochs, batches of 32, "
        "seed 7, the same for all", "Head <CT>", "0.990", "0.712", "30.1", "50.8 %", "19.4", "15-nearest-neighbor",
    ):  # fmt: skip
        assert said in shown


def test_the_report_shows_a_saved_record_and_nothing_without_one(tmp_path: Path, record: FeatureRecord) -> None:
    with RunStore.create(tmp_path, "small", manifest()) as store:
        store.save_results(run_results())
        assert features.TITLE not in write_report(store).read_text()
        feature_record.save(store.path, record)
        text = write_report(store).read_text()
    assert features.TITLE in text
    assert "nothing about privacy" in text
    (carried,) = re.findall(r'<script type="application/json" id="drawn">(.*?)</script>', text)
    assert json.loads(carried)["features"]["panels"][0]["points"][1] == [4.0, 0.0]


def test_a_damaged_record_is_named_with_its_cure(tmp_path: Path, record: FeatureRecord) -> None:
    assert feature_record.load(tmp_path) is None
    feature_record.save(tmp_path, record)
    assert feature_record.load(tmp_path) is not None
    faults: list[tuple[dict[str, object], str]] = [
        ({"schema_version": 9}, "schema: Input should be 2"),
        ({"labels": (0, 1, 2, 0)}, "labels: some are of no class"),
        ({"labels": (0,)}, "4 points for 1 labels"),
        ({"class_mean_psnr_db": None}, "class_mean_psnr_db: Input should be"),
    ]
    for damage, says in faults:
        feature_record.save(tmp_path, record.model_copy(update=damage))
        with pytest.raises(UserError, match=rf"features\.json.*{says}.*splitfed report .* --features"):
            feature_record.load(tmp_path)
    (tmp_path / feature_record.FILE).write_text("{")
    with pytest.raises(UserError, match=r"features\.json is damaged"):
        feature_record.load(tmp_path)
