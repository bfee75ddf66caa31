"""What stands beside inverted classes: what anybody could have shown, and pairs that mean nothing.

The published table compares each found image with a private one of the same class drawn by lot: that measures how
unlike two images of a class are, whoever made them. `random_pairs` gives that figure, with the class mean beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from splitfed.errors import DataError
from splitfed.metrics.per_image import METRICS
from splitfed.metrics.predictors import class_means
from splitfed.types import Images


class RandomPairs(NamedTuple):
    """Images against private ones of the same class, drawn by lot.

    Attributes:
        psnr_db: mean over pairs, dB.
        ssim: mean over pairs.
        class_mean_psnr_db: of the mean of the attacker's own images of the class, against the same private images.
        class_mean_ssim: the same.
        n: pairs.
    """

    psnr_db: float
    ssim: float
    class_mean_psnr_db: float
    class_mean_ssim: float
    n: int


def random_pairs(
    images: Tensor, labels: Tensor, victims: Images, auxiliary: Images, *, draws: torch.Generator
) -> RandomPairs:
    """PSNR and SSIM of each image against one private image of its class.

    Args:
        images: what was found, (N, C, H, W), in [0, 1].
        labels: the class that each was found for, int64, (N,).
        victims: the private images.
        auxiliary: the attacker's own, whose class means stand beside.
        draws: which private image each gets.

    Raises:
        DataError: a class without private images.
    """
    places = _drawn(victims, labels, draws, "private")
    truth, means = victims.pixels[places], class_means(auxiliary)[labels]
    psnr, mean_psnr = (_mean("psnr_db", some, truth) for some in (images, means))
    ssim, mean_ssim = (_mean("ssim", some, truth) for some in (images, means))
    return RandomPairs(psnr, ssim, mean_psnr, mean_ssim, len(images))


def control_images(auxiliary: Images, labels: Tensor, *, draws: torch.Generator) -> dict[str, Tensor]:
    """What is shown in place of found images to put a figure beside theirs, in their order.

    ``class_mean``: the mean of the attacker's own images of the class. ``auxiliary``: one of these, by lot: the real
    thing, and what an attacker may show who never asked the classifier. Random samples of the generator come with the
    findings; an attack on an untrained classifier is an attack of its own.

    Args:
        auxiliary: the attacker's own images.
        labels: a class for each image wanted, int64, (N,).
        draws: which ones are shown.

    Raises:
        DataError: a class without images.
    """
    places = _drawn(auxiliary, labels, draws, "auxiliary")
    return {"class_mean": class_means(auxiliary)[labels], "auxiliary": auxiliary.pixels[places]}


def _drawn(images: Images, labels: Tensor, draws: torch.Generator, whose: str) -> Tensor:
    """The position of an image of each label, by lot, (N,)."""
    places = torch.empty_like(labels)
    for label in torch.unique(labels).tolist():
        own, wanted = torch.nonzero(images.labels == label)[:, 0], labels == label
        if not len(own):
            raise DataError(f"class {images.classes[label]!r} has no {whose} images to compare with; leave it out")
        places[wanted] = own[torch.randint(len(own), (int(wanted.sum()),), generator=draws)]
    return places


def _mean(metric: str, images: Tensor, truth: Tensor) -> float:
    score = METRICS[metric].mean(images, truth)
    assert score is not None, "these have no smallest size here"
    return score
