"""The baselines: what a guess without any activation scores.

They are fitted on auxiliary images and applied to the victims, as an attack is. One of them, the nearest auxiliary
image, is an oracle's: it is chosen by the victim's own image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.types import Images


def mean_image(auxiliary: Images, victims: Images) -> Tensor:
    """The mean auxiliary image, once per victim: (N, C, H, W). Knowing nothing."""
    return auxiliary.pixels.mean(dim=0).expand(len(victims), -1, -1, -1)


def class_mean(auxiliary: Images, victims: Images) -> Tensor:
    """The mean auxiliary image of each victim's class: (N, C, H, W). Knowing the class and no more.

    A class without auxiliary images gets the mean over all of them.
    """
    return class_means(auxiliary)[victims.labels]


def class_means(auxiliary: Images) -> Tensor:
    """What `class_mean` guesses for each class: (K, C, H, W)."""
    means = auxiliary.pixels.mean(dim=0).repeat(len(auxiliary.classes), 1, 1, 1)
    for label in torch.unique(auxiliary.labels).tolist():
        means[label] = auxiliary.pixels[auxiliary.labels == label].mean(dim=0)
    return means


def nearest_auxiliary(auxiliary: Images, victims: Images) -> Tensor:
    """The auxiliary image that is nearest to each victim's by mean squared error: (N, C, H, W).

    Nobody can look up a nearer one: what `retrieval` comes to at best, and how alike the two parts of the data are.
    """
    own = auxiliary.pixels.flatten(1)
    squares = own.square().sum(dim=1)
    # |a|² - 2 v·a is the squared distance less |v|², which no comparison needs
    parts = torch.split(victims.pixels.flatten(1), ROWS)
    nearest = [torch.addmm(squares, rows, own.T, alpha=-2).argmin(dim=1) for rows in parts]
    return auxiliary.pixels[torch.cat(nearest)]


ROWS = 512
"""Victims that are compared with all auxiliary images at a time."""
