"""The shape of `features.json`: the features of a run's images after two layers, embedded and scored.

`splitfed.experiment.feature_analysis` measures them, `splitfed.views.report.features` shows them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from splitfed.errors import UserError
from splitfed.files import as_open_as
from splitfed.records.store import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

FILE = "features.json"
SCHEMA = 1


class FeatureSettings(TypedDict):
    """What the features were made with; counts are images.

    ``train`` are those that the classifiers were trained on, ``ridge`` those that the reconstruction was fitted on.
    """

    seed: int
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    train: int
    ridge: int
    neighbors: int
    l1_weight: float
    kernel_size: int
    versions: dict[str, str]


class NetworkFeatures(TypedDict):
    """The features behind two layers of one kind, per image ``features`` numbers.

    ``points`` are their embedding, in units that mean nothing; the scores are measured in the features themselves:
    ``accuracy`` of the classifier that they were trained with and ``knn_accuracy`` (leave-one-out) in [0, 1],
    ``ridge_psnr_db`` and ``ridge_reid_top1`` of the images that a ridge regression makes of them.
    """

    layers: str
    features: int
    accuracy: float
    knn_accuracy: float
    ridge_psnr_db: float
    ridge_reid_top1: float
    points: list[tuple[float, float]]


class FeatureRecord(TypedDict):
    """The whole of `features.json`: ``labels`` are the positions in ``classes`` of the images shown.

    ``class_mean_psnr_db`` is what it takes no features to reach, only the class.
    """

    schema: int
    classes: list[str]
    labels: list[int]
    class_mean_psnr_db: float
    networks: list[NetworkFeatures]
    settings: FeatureSettings


def save(run: Path, record: FeatureRecord) -> None:
    """Replace the record of the run in this directory in one step."""
    with as_open_as(run):
        write_json(run / FILE, record)


def load(run: Path) -> FeatureRecord | None:
    """The record of the run in this directory; None where there is none.

    Raises:
        UserError: it is damaged, or of another version.
    """
    path = run / FILE
    if not path.is_file():
        return None
    cure = f"delete it, and make it anew with: splitfed report {run} --features"
    candidate = read_json(path, cure=cure)
    faults = _faults(candidate)
    if faults:
        raise UserError(f"{path} does not fit its schema ({'; '.join(faults)}): {cure}")
    return cast("FeatureRecord", candidate)


def _faults(candidate: object) -> list[str]:
    from pydantic import TypeAdapter, ValidationError

    try:
        # by way of JSON: there a list of two stands for a pair, and numbers are not taken from strings
        record = TypeAdapter(FeatureRecord).validate_json(json.dumps(candidate), strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return _contradictions(record)


def _contradictions(record: FeatureRecord) -> list[str]:
    found = []
    if record["schema"] != SCHEMA:
        found.append(f"schema: is {record['schema']}, this version reads {SCHEMA}")
    if any(not 0 <= label < len(record["classes"]) for label in record["labels"]):
        found.append("labels: some are of no class")
    images = len(record["labels"])
    for network in record["networks"]:
        if len(network["points"]) != images:
            found.append(f"{network['layers']}: {len(network['points'])} points for {images} labels")
    return found
