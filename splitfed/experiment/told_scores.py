"""What clients say of their own images, put together into the scores of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from splitfed.metrics.score import reduced
from splitfed.records.results import AttackScore, BaselineScore, ClientScore
from splitfed.roles.lab_protocol import Scored

CLASS_MEAN = "class_mean"
BASELINES = ("mean_image", CLASS_MEAN)

ByClient = Mapping[int, Scored]
"""The scores of one attack or predictor by the client's number."""


def attack_score_told(told: ByClient, class_mean: ByClient, *, seed: int, sent: int) -> AttackScore:
    """What one attack reached, over the images of all clients, of which ``sent`` traveled under the final front.

    The images stand in the order of the clients' numbers, as in what a lab scores that has them all. An excess over a
    class mean that a client did not score is NaN.
    """
    parts = [told[client] for client in sorted(told)]
    hits = _all(part.hit for part in parts)
    cropped = _all(part.ssim_cropped for part in parts)
    found = reduced(
        _all(part.psnr_db for part in parts),
        _all(part.ssim for part in parts),
        class_mean_psnr_db=torch.cat([_class_mean_of(part, class_mean.get(part.client)) for part in parts]),
        seed=seed,
    )
    return AttackScore(
        **found,
        ssim_cropped=_mean(cropped),
        reid_top1=_mean(hits),
        reid_chance=sum(bool(part.hit) for part in parts) / len(hits) if len(hits) else None,
        n=sum(len(part.image) for part in parts),
        sent=sent,
        by_client={str(part.client): _client_score(part) for part in parts},
    )


def baseline_told(told: ByClient) -> BaselineScore:
    """What one predictor scores, mean over the images of all clients; null where nobody scored it."""
    parts = list(told.values())
    return BaselineScore(
        psnr_db=_mean(_all(part.psnr_db for part in parts)),
        ssim=_mean(_all(part.ssim for part in parts)),
        ssim_cropped=_mean(_all(part.ssim_cropped for part in parts)),
    )


def _client_score(part: Scored) -> ClientScore:
    return ClientScore(
        psnr_db=_mean(_all([part.psnr_db])),
        ssim=_mean(_all([part.ssim])),
        reid_top1=_mean(_all([part.hit])),
        reid_chance=1 / len(part.hit) if part.hit else None,
        n=len(part.image),
    )


def _class_mean_of(part: Scored, class_mean: Scored | None) -> Tensor:
    """PSNR of the class mean on the images that an attack was scored on, dB."""
    known = {} if class_mean is None else dict(zip(class_mean.image, class_mean.psnr_db, strict=True))
    return torch.tensor([known.get(image, math.nan) for image in part.image], dtype=torch.float64)


def _all(lists: Iterable[Sequence[float]]) -> Tensor:
    return torch.tensor([value for values in lists for value in values], dtype=torch.float64)


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
