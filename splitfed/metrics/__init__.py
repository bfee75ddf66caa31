"""Per-image scores with a declared range and direction, and the gates that every run must pass.

Only this package sees the victims' images beside the reconstructions of them.
"""

from splitfed.metrics.bootstrap import bootstrap_ci95
from splitfed.metrics.fast import fast_psnr_db, fast_ssim
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.per_image import METRICS, Metric
from splitfed.metrics.predictors import class_mean, mean_image, nearest_auxiliary
from splitfed.metrics.quality import psnr_db, ssim, ssim_cropped
from splitfed.metrics.reid import ReidResult, reid_top1
from splitfed.metrics.score import predictor_score, score

__all__ = [
    "METRICS",
    "Metric",
    "ReidResult",
    "bootstrap_ci95",
    "class_mean",
    "fast_psnr_db",
    "fast_ssim",
    "fingerprint",
    "mean_image",
    "nearest_auxiliary",
    "predictor_score",
    "psnr_db",
    "reid_top1",
    "score",
    "ssim",
    "ssim_cropped",
]
