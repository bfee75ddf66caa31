"""Embeddings are drawn where their numbers say, every class has a mark of its own, and scores stand beside them."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

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


def drawing(record: FeatureRecord) -> ET.Element:
    return ET.fromstring(features.drawing(record))


def begins(path: ET.Element) -> list[tuple[float, float]]:
    """Where the markers of a path are placed."""
    return [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)", path.attrib["d"])]


def test_points_lie_in_their_panel_to_one_scale_and_upwards_is_up(record: FeatureRecord) -> None:
    svg = drawing(record)
    frames, clouds = svg.findall("rect"), svg.findall("path")
    assert len(frames) == 3
    assert len(clouds) == 3 * 2 + 2  # each class in each panel, and in the legend
    for column, frame in enumerate(frames):
        left, edge = float(frame.attrib["x"]), float(frame.attrib["width"])
        (origin, inner), (right, top) = (begins(cloud) for cloud in clouds[2 * column : 2 * column + 2])
        assert right[0] - origin[0] == pytest.approx(edge - 2 * features.MARGIN, abs=0.2)
        assert origin[0] - left == pytest.approx(features.MARGIN, abs=0.2)
        assert origin[1] == right[1]
        assert origin[1] - top[1] == pytest.approx((right[0] - origin[0]) / 2, abs=0.2)
        assert inner[0] - origin[0] == pytest.approx(origin[1] - inner[1], abs=0.2)
        assert float(frame.attrib["y"]) < top[1] < origin[1] < float(frame.attrib["y"]) + edge


def test_one_point_alone_lies_in_the_middle() -> None:
    svg = drawing(record_of(network("two linear layers", [(3.0, 5.0)]), labels=[0], classes=["Hand"]))
    (place,) = begins(svg.findall("path")[0])
    frame = svg.find("rect")
    assert frame is not None
    assert place[0] == pytest.approx(float(frame.attrib["x"]) + features.PANEL / 2, abs=0.1)


def test_every_class_has_a_mark_of_its_own_and_another_shape_than_the_next() -> None:
    classes = [f"class {number}" for number in range(24)]
    points = [(float(number), 0.0) for number in range(24)]
    svg = drawing(record_of(network("n", points), labels=list(range(24)), classes=classes))
    marks = [(path.attrib["class"], path.attrib["d"].partition("m")[2]) for path in svg.findall("path")[:24]]
    legend = [(path.attrib["class"], path.attrib["d"].partition("m")[2]) for path in svg.findall("path")[24:]]
    assert len(set(marks)) == 24
    assert legend == marks
    assert all(one[1] != other[1] for one, other in pairwise(marks))


def test_a_long_legend_goes_on_in_another_row_and_stays_inside() -> None:
    classes = ["a class with a long name"] * 10
    svg = drawing(record_of(network("n", [(0.0, 0.0)]), labels=[0], classes=classes))
    height = float(svg.attrib["viewBox"].split()[3])
    names = [text for text in svg.findall("text") if text.text == classes[0]]
    assert len({text.attrib["y"] for text in names}) > 1
    assert all(float(text.attrib["y"]) < height for text in names)
    assert all(float(text.attrib["x"]) + 7 * len(classes[0]) < features.WIDTH for text in names)


def test_the_caption_says_what_umap_does_and_the_table_what_it_cannot(record: FeatureRecord) -> None:
    cells = [cell for row in features.scores(record).rows for cell in row.cells]
    shown = " ".join([*drawing(record).itertext(), features.caption(record), *features.scores(record).header, *cells])
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
    assert not re.search(r"https?://|url\(|<script", text)


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
