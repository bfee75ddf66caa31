"""What the attacker's process is told, and the folder in which it finds what a participant knows.

    knowledge/
        auxiliary.npz          pixels float32 (N, C, H, W) in [0, 1], labels int64 (N,), class names
        fronts/0003.pt         the front that every participant got at the start of round 3
        final.json             written once training is over: which front is final, how many rows to expect

The lab writes this folder; in a deployment a participant does.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from splitfed.errors import ScenarioError
from splitfed.files import as_path, replacing, write_whole
from splitfed.options import Options, explain
from splitfed.types import Images, ImageShape

AUXILIARY, FRONTS = "auxiliary.npz", "fronts"
LIVE = "live-"
"""What the names of reconstructions begin with that are shown while an attack learns."""

UserPath = Annotated[Path, AfterValidator(as_path)]
"""A path in which ``~`` is the home directory."""


class ComponentConfig(Options):
    """A defense or an attack by name, with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class AttackerConfig(Options):
    """One attacker against one cell."""

    upstream: str
    """host:port of the split service to which the relay forwards."""
    listen: str = "127.0.0.1:0"
    """host:port for the clients; port 0 takes a free one."""
    knowledge: UserPath
    """The folder described above."""
    observations: UserPath
    """Where the tap records activations."""
    out: UserPath
    """Where reconstructions are written."""
    shape: tuple[int, int, int]
    """Channels, height and width of an image."""
    width: int = Field(ge=1)
    """Of the front's linear layers."""
    hidden_layers: int = Field(default=0, ge=0)
    """Hidden layers that stay with the clients."""
    seed: int = 0
    defense: ComponentConfig
    """The defense that it faces; the attacker knows the mechanism."""
    attacks: tuple[ComponentConfig, ...] = Field(min_length=1)
    live_aux: int = Field(default=1000, ge=20)
    """Auxiliary images that it learns from while training goes on; after the last round it learns from all."""
    live_images: int = Field(default=96, ge=1)
    """Observations that it reconstructs for the live view."""
    live_interval_s: float = Field(default=2.0, gt=0)
    """Least time between two of these."""
    keep_rounds: int = Field(default=1, ge=0)
    """Of how many of the newest rounds TRAIN and TEST observations and fronts stay on disk; 0 keeps all."""
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """For learning once training is over; until then it has one."""
    settle_s: float = Field(default=20.0, gt=0)
    """How long it waits, after training, for observations that are still under way."""

    @property
    def image_shape(self) -> ImageShape:
        """`shape` with names."""
        return ImageShape(*self.shape)


def load_config(path: Path) -> AttackerConfig:
    """The attacker's settings from a JSON or TOML file.

    Raises:
        ScenarioError: the file cannot be read, or a key or value does not fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return AttackerConfig.model_validate(table)
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise ScenarioError(explain(error, AttackerConfig, path.name)) from None
    except ValueError as error:  # what both parsers raise
        raise ScenarioError(f"{path} is neither valid JSON (.json) nor valid TOML: {error}") from error


def save_auxiliary(folder: Path, images: Images) -> None:
    """Write the attacker's own images."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / AUXILIARY) as file:
        np.savez(file, pixels=images.pixels.numpy(), labels=images.labels.numpy(), classes=np.array(images.classes))


def load_auxiliary(folder: Path) -> Images:
    """What `save_auxiliary` wrote."""
    import torch

    with np.load(folder / AUXILIARY) as stored:
        return Images(
            pixels=torch.from_numpy(stored["pixels"]),
            labels=torch.from_numpy(stored["labels"]),
            classes=tuple(str(name) for name in stored["classes"]),
        )


def front_path(folder: Path, round_number: int) -> Path:
    """Where the front of a round lies."""
    return folder / FRONTS / f"{round_number:04d}.pt"


def newest_front(folder: Path) -> int | None:
    """The latest round whose front is known."""
    rounds = [int(path.stem) for path in (folder / FRONTS).glob("*.pt")]
    return max(rounds, default=None)


def forget_fronts(folder: Path, *, before: int) -> None:
    """Delete the fronts of earlier rounds."""
    for path in (folder / FRONTS).glob("*.pt"):
        if int(path.stem) < before:
            path.unlink(missing_ok=True)


class Final(Options):
    """Training is over: the front of `round` is final, and its AUDIT streams hold `rows` images."""

    round: int
    rows: int

    def save(self, folder: Path) -> None:
        """Write it in one piece."""
        write_whole(folder / "final.json", self.model_dump_json().encode())

    @classmethod
    def load(cls, folder: Path) -> Final | None:
        """What `save` wrote, or None while training goes on."""
        path = folder / "final.json"
        return cls.model_validate(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
