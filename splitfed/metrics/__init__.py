"""Per-image scores with a declared range and direction, and the gates that every run must pass.

Only this package sees the victims' images beside the reconstructions of them.
"""

from splitfed.metrics.bootstrap import bootstrap_ci95
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.predictors import class_mean, mean_image
from splitfed.metrics.quality import psnr_db, ssim
from splitfed.metrics.registry import METRICS, Metric
from splitfed.metrics.reid import ReidResult, reid_top1
from splitfed.metrics.score import score

__all__ = [
    "METRICS",
    "Metric",
    "ReidResult",
    "bootstrap_ci95",
    "class_mean",
    "fingerprint",
    "mean_image",
    "psnr_db",
    "reid_top1",
    "score",
    "ssim",
]
