"""The metrics by name, with the range and the direction that each promises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a number in the results means.

    Attributes:
        name: its key in `results.json`.
        better: the direction in which the defense is better.
        low: the least possible value.
        high: the greatest possible value.
        unit: the unit, empty for a plain number.
        summary: one line for a reader.
    """

    name: str
    better: Literal["lower", "higher"]
    low: float
    high: float
    unit: str
    summary: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr_db", "lower", 0.0, 100.0, "dB", "peak signal-to-noise ratio, mean over images"),
        Metric("psnr_db_p99", "lower", 0.0, 100.0, "dB", "PSNR of the worst-protected percent of the images"),
        Metric("psnr_excess_db", "lower", -100.0, 100.0, "dB", "PSNR minus the class-mean predictor's"),
        Metric("ssim", "lower", -1.0, 1.0, "", "structural similarity, 11-tap Gaussian, mean over images"),
        Metric("reid_top1", "lower", 0.0, 1.0, "", "reconstructions whose nearest true image is their own"),
        Metric("fid_lite0", "higher", 0.0, math.inf, "", "Fréchet distance of EfficientNet-Lite0 features"),
        Metric("fid", "higher", 0.0, math.inf, "", "Fréchet distance of Inception-v3 features"),
        Metric("accuracy", "higher", 0.0, 1.0, "", "test images that are classified correctly"),
    )
}
