"""A classifier of digits, a generator that was fitted to others, and a judge that neither of them knows."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitfed.generators import ImageGenerator, build
from splitfed.types import Images
from tests.attacks.worlds import digits

CLASSES = 10


def own_images() -> Images:
    """The attacker's 600 digits."""
    return digits()[:600]


@cache
def generator() -> ImageGenerator:
    mixture = build("mixture", {"directions": 32, "components": 10})
    mixture.prepare(own_images(), torch.Generator().manual_seed(0))
    return mixture


def network(seed: int, *, hidden: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))
    return layers.eval().requires_grad_(False)


def trained(layers: nn.Sequential, images: Images, seed: int) -> nn.Sequential:
    layers.requires_grad_(True)
    optimizer = torch.optim.Adam(layers.parameters(), 3e-3)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(40):
        for rows in torch.split(torch.randperm(len(images), generator=draws), 64):
            optimizer.zero_grad()
            F.cross_entropy(layers(images.pixels[rows]), images.labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    optimizer.zero_grad()
    return layers.requires_grad_(False)


@cache
def target() -> nn.Sequential:
    """Of the victims' 600 digits."""
    return trained(network(1, hidden=64), digits()[600:1200], 1)


@cache
def judge() -> nn.Sequential:
    """Of 597 digits that nobody else has seen."""
    return trained(network(2, hidden=100), digits()[1200:], 2)


def share(images: Tensor, label: int) -> float:
    """Of the images that the judge gives a class."""
    return float((judge()(images).argmax(dim=1) == label).float().mean())
