"""What the attacker's process is told."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PositiveInt, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from splitfed.errors import ScenarioError, UserError
from splitfed.files import as_path
from splitfed.options import Options, explain
from splitfed.types import ImageShape
from splitfed.wire.address import split_address


def _is_address(value: str) -> str:
    try:
        split_address(value)
    except UserError as error:
        raise PydanticCustomError("address", "{reason}", {"reason": str(error)}) from None
    return value


Address = Annotated[str, AfterValidator(_is_address)]
"""host:port, an IPv6 host in brackets."""

SETTLE_S = 20.0

UserPath = Annotated[Path, AfterValidator(as_path)]
"""A path in which ``~`` is the home directory."""


class ComponentConfig(Options):
    """A defense or an attack by name, with its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class AttackerConfig(Options):
    """One attacker against one cell."""

    upstream: Address | None = None
    """host:port of the split service to which the relay forwards. Without, there is no relay: what is in the folder
    `observations` was recorded by somebody else, such as a curious server, and `listen` means nothing."""
    listen: Address = "127.0.0.1:0"
    """host:port for the clients; port 0 takes a free one."""
    knowledge: UserPath
    """The folder of `protocol` from which it learns what a participant knows."""
    observations: UserPath
    """Where the tap records activations, or whoever else does."""
    out: UserPath
    """Where reconstructions are written."""
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Channels, height and width of an image."""
    width: int = Field(ge=1)
    """Of the front's linear layers."""
    hidden_layers: int = Field(default=0, ge=0)
    """Hidden layers that stay with the clients."""
    seed: int = 0
    defense: ComponentConfig
    """The defense that it faces; the attacker knows the mechanism."""
    labels_in_clear: bool = True
    """Whether labels travel with activations; where they stay with the clients, attacks guess them first."""
    attacks: tuple[ComponentConfig, ...] = Field(min_length=1)
    live_aux: int = Field(default=1000, ge=20)
    """Auxiliary images that it learns from while training goes on; after the last round it learns from all."""
    live_images: int = Field(default=96, ge=1)
    """Observations that it reconstructs for the live view, the first of a round; unless `shown` names some of it."""
    shown: tuple[tuple[int, int, int, int], ...] = ()
    """Opaque indices (round, client, step, row) of the observations that it reconstructs for the live view, so that who
    looks on sees the same images each time. No attack is told, nor is any fitted or chosen by them. They stand in
    the order of the streams, so that they say where a few victims are in each round, not which of them is which. Were
    whole rounds reconstructed, of which the lab would pick, a network would show more images each time than it learns
    from (`live_aux`)."""
    live_interval_s: float = Field(default=2.0, gt=0)
    """Least time between two of these."""
    training_streams: bool = True
    """Whether attacks that are fitted in seconds also face the TRAIN streams that stay on disk."""
    keep_rounds: int = Field(default=1, ge=0)
    """Of how many of the newest rounds TRAIN and TEST observations and fronts stay on disk; 0 keeps all."""
    threads: int = Field(default=2, ge=1)
    """For learning once training is over; until then it has one. Another number sums in another order, so that results
    differ in their last digits."""
    settle_s: float = Field(default=SETTLE_S, gt=0)
    """How long it waits, after training, for observations that are still under way."""

    @model_validator(mode="after")
    def _leads_to_the_server(self) -> AttackerConfig:
        if self.upstream is None:
            return self
        if split_address(self.upstream)[1] == 0:
            raise ValueError(f"upstream {self.upstream} has port 0: give the port on which the split service listens")
        if self.upstream == self.listen:
            raise ValueError(f"upstream and listen are both {self.listen}: the relay would lead back to itself")
        return self

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
