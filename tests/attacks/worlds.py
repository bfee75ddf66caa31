"""Small worlds to attack: digits of 8×8 pixels behind a linear layer, or behind a sparse one and a linear one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from splitfed.attacks import Attack, FitEvidence, build
from splitfed.attacks.base import images_of
from splitfed.models.sparse import SparseCodingLayer
from splitfed.types import Images, Knowledge

SMALL: dict[str, dict[str, object]] = {
    "ridge": {},
    "posterior_mean": {},
    "lmmse": {"augmented_copies": 1},
    "decoder": {"width": 96, "hidden": 48, "blocks": 2, "batch_size": 32, "learning_rate": 3e-3, "max_epochs": 16},
    "conv_decoder": {
        "width": 64,
        "hidden": 32,
        "blocks": 1,
        "channels": 4,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "max_epochs": 4,
        "augmented_copies": 2,
    },
    "whitebox": {"steps": 30, "most_images": 320, "steps_sparse": 8, "most_images_sparse": 128},
    "dictionary": {
        "width": 64,
        "hidden": 32,
        "blocks": 1,
        "channels": 4,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "max_epochs": 8,
        "augmented_copies": 1,
    },
    "ensemble": {"channels": 8, "batch_size": 32, "max_epochs": 9},
    "untrained": {"width": 96},
    "retrieval": {},
}
"""Options that keep the tests short."""


@cache
def digits() -> Images:
    raw = load_digits()
    pixels = torch.tensor(raw.images, dtype=torch.float32)[:, None] / 16
    # they come sorted by who wrote them; attacker and victims are to have images of one distribution
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    return Images(pixels, torch.tensor(raw.target), tuple("0123456789"))[order]


@dataclass(frozen=True)
class World:
    """A front, what the attacker knows of it, and victims that it does not know."""

    front: nn.Module
    knowledge: Knowledge
    victims: Images

    def observed(self) -> Tensor:
        """The victims' activations."""
        return self.knowledge.observe(self.victims.pixels, torch.Generator().manual_seed(99))

    def images(self, attack: Attack) -> Tensor:
        """What an attack makes of them, whose labels travel in clear."""
        return images_of(attack, self.observed(), self.victims.labels)


def world(
    *, noise: float = 0.0, width: int = 64, front_seed: int = 0, auxiliary: int = 500, sparse: bool = False
) -> World:
    """The first digits are the attacker's, the last 300 the victims'; ``sparse`` codes them before the linear layer."""
    generator = torch.Generator().manual_seed(front_seed)
    stem: list[nn.Module] = []
    if sparse:
        stem.append(SparseCodingLayer(1, 8, kernel_size=3, l1_weight=0.2, generator=generator))
    linear = nn.Linear(8 * 64 if sparse else 64, width)
    front = nn.Sequential(*stem, nn.Flatten(), linear, nn.ReLU())
    with torch.no_grad():
        for weights in linear.parameters():
            weights.uniform_(-0.25, 0.25, generator=generator)

    def observe(pixels: Tensor, draws: torch.Generator) -> Tensor:
        activation: Tensor = front(pixels)
        if not noise:
            return activation
        return activation + noise * torch.randn(activation.shape, generator=draws)

    images = digits()
    knowledge = Knowledge(images[:auxiliary], observe, expected=front, front=front, randomized=noise > 0)
    return World(front, knowledge, images[-300:])


def one_ridge_for_all(here: World) -> Tensor:
    """What ridge regression makes of the victims' activations without asking for labels: scikit-learn's."""
    own = here.knowledge.auxiliary.pixels
    seen = here.knowledge.observe(own, torch.Generator().manual_seed(7)).detach()
    fitted = RidgeCV(np.logspace(-4, 2, 13)).fit(seen.numpy(), own.flatten(1).numpy())
    made = fitted.predict(here.observed().detach().numpy())
    return torch.from_numpy(made).float().clamp(0, 1).reshape(-1, *own.shape[1:])


def world_for(name: str, *, noise: float = 0.0, auxiliary: int = 500) -> World:
    """A world to which this attack applies."""
    here = world(noise=noise, auxiliary=auxiliary)
    if small(name).applies(here.knowledge):
        return here
    return world(noise=noise, auxiliary=auxiliary, sparse=True)


def run(attack: Attack, knowledge: Knowledge, *, seed: int = 0) -> FitEvidence:
    """Face a front and work until finished."""
    attack.begin(knowledge, torch.Generator().manual_seed(seed))
    while not attack.advance().finished:
        pass
    return attack.evidence()


def small(name: str) -> Attack:
    return build(name, dict(SMALL[name]))
