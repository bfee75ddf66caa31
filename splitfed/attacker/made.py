"""What an attack made of observations, written for whoever scores it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from splitfed import attacks
from splitfed.attacker.config import AttackerConfig
from splitfed.attacker.observed import Chosen, affordable
from splitfed.attacks import Attack
from splitfed.files import file_name, replacing
from splitfed.types import FitEvidence, Observation

_FIT = TypeAdapter(FitEvidence)
"""A plug-in may give numbers of other kinds than it should: 3.0 epochs, say."""


def save_made(config: AttackerConfig, name: str, attack: Attack, wanted: Sequence[Chosen]) -> Path:
    """Write index and images in one piece, so that a reader never sees half a file.

    Args:
        config: says where to, and the shape of an image.
        name: what the file is called after.
        attack: it has begun.
        wanted: what to reconstruct; of a part, as far as the attack can afford it.
    """
    shape = config.image_shape
    chosen = affordable(wanted, attack.most_observations())
    with torch.no_grad():
        images = [
            attacks.reconstruct(attack, seen.activation[rows], shape, _labels(seen, rows)) for seen, rows in chosen
        ]
    pixels = torch.cat(images).numpy() if images else np.zeros((0, *shape), np.float32)
    index = np.concatenate([o.index()[rows] for o, rows in chosen]) if chosen else np.zeros((0, 4), np.int64)
    path = config.out / f"{file_name(name)}.npz"
    with replacing(path) as file:
        np.savez(file, index=index, images=pixels)
    return path


def as_numbers(evidence: FitEvidence) -> FitEvidence:
    """The same evidence, each number of the kind that it should be."""
    return _FIT.validate_python(vars(evidence))


def _labels(seen: Observation, rows: np.ndarray) -> torch.Tensor | None:
    """The labels of these rows, where they were tapped."""
    return None if seen.labels is None else seen.labels[rows]
