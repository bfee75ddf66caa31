"""The shape of `features.json`: the features of a run's images after two layers, embedded and scored.

`splitfed.experiment.feature_analysis` measures them, `splitfed.views.report.features` shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from splitfed.files import as_open_as
from splitfed.records import record

if TYPE_CHECKING:
    from pathlib import Path

FILE = "features.json"
SCHEMA: Final = 2


class FeatureSettings(record.Record):
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


class NetworkFeatures(record.Record):
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
    points: tuple[tuple[float, float], ...]


class FeatureRecord(record.Record):
    """The whole of `features.json`: ``labels`` are the positions in ``classes`` of the images shown.

    ``class_mean_psnr_db`` is what it takes no features to reach, only the class.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Literal[2] = Field(alias="schema")
    classes: tuple[str, ...]
    labels: tuple[int, ...]
    class_mean_psnr_db: float
    networks: tuple[NetworkFeatures, ...]
    settings: FeatureSettings

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if any(not 0 <= label < len(self.classes) for label in self.labels):
            raise ValueError("labels: some are of no class")
        for network in self.networks:
            if len(network.points) != len(self.labels):
                raise ValueError(f"{network.layers}: {len(network.points)} points for {len(self.labels)} labels")
        return self


def save(run: Path, measured: FeatureRecord) -> None:
    """Replace the record of the run in this directory in one step."""
    with as_open_as(run):
        record.save(run / FILE, measured)


def load(run: Path) -> FeatureRecord | None:
    """The record of the run in this directory; None where there is none.

    Raises:
        UserError: it is damaged, or of another version.
    """
    path = run / FILE
    if not path.is_file():
        return None
    return record.load(path, FeatureRecord, cure=f"delete it, and make it anew with: splitfed report {run} --features")
