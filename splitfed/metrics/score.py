"""Reconstructions against the truth: the entry of one attack in `results.json`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splitfed.metrics.bootstrap import bootstrap_ci95
from splitfed.metrics.per_image import METRICS
from splitfed.metrics.quality import psnr_db, ssim
from splitfed.metrics.reid import ReidResult, reid_top1
from splitfed.types import Images


def score(
    reconstructions: Tensor,
    truth: Images,
    *,
    class_mean_psnr_db: Tensor,
    seed: int,
    reid: ReidResult | None = None,
) -> dict[str, Any]:
    """What an attack leaked, in the keys of the results schema.

    Args:
        reconstructions: float32, (N, C, H, W), in [0, 1], in the order of ``truth``.
        truth: the victims' images.
        class_mean_psnr_db: PSNR of the class-mean predictor on the same images, dB, (N,).
        seed: for the bootstrap over images.
        reid: re-identification in the pool that all attacks share; by default among the first images of ``truth``.

    Returns:
        psnr_db, psnr_db_ci95, psnr_db_p99, psnr_excess_db, ssim, ssim_ci95, ssim_cropped (None for images smaller
        than its window), reid_top1, reid_chance, n.

    Raises:
        ValueError: the shapes of reconstructions and truth differ, or there is no image.
    """
    psnr = psnr_db(reconstructions, truth.pixels).double()
    structure = ssim(reconstructions, truth.pixels).double()
    found = reid or reid_top1(reconstructions, truth.pixels)
    return {
        **reduced(psnr, structure, class_mean_psnr_db=class_mean_psnr_db, seed=seed),
        "ssim_cropped": METRICS["ssim_cropped"].mean(reconstructions, truth.pixels),
        "reid_top1": found.rate,
        "reid_chance": found.chance,
        "n": len(truth),
    }


def reduced(psnr_db: Tensor, ssim: Tensor, *, class_mean_psnr_db: Tensor, seed: int) -> dict[str, Any]:
    """What scores per image come to: means, intervals, the worst-protected percent, the excess over the class mean.

    Args:
        psnr_db: of each image, float64, (N,).
        ssim: of the same images, float64, (N,).
        class_mean_psnr_db: PSNR of the class-mean predictor on the same images, dB, (N,).
        seed: for the bootstrap over images.

    Raises:
        ValueError: there is no image.
    """
    return {
        "psnr_db": float(psnr_db.mean()),
        "psnr_db_ci95": bootstrap_ci95(psnr_db, seed=seed),
        "psnr_db_p99": float(torch.quantile(psnr_db, 0.99)),
        "psnr_excess_db": float((psnr_db - class_mean_psnr_db).mean()),
        "ssim": float(ssim.mean()),
        "ssim_ci95": bootstrap_ci95(ssim, seed=seed),
    }


def predictor_score(prediction: Tensor, truth: Images) -> dict[str, float | None]:
    """What a guess without any activation scores: each of `METRICS`, mean over images.

    Args:
        prediction: float32, (N, C, H, W), in [0, 1], in the order of ``truth``.
        truth: the victims' images.
    """
    return {name: metric.mean(prediction, truth.pixels) for name, metric in METRICS.items()}
