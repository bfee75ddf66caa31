"""One experiment as it was validated: frozen, the same for every part that reads it.

Components own their options: a ``[[defense]]`` or ``[[attack]]`` table is validated by the defense or attack that it
names (`checks`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from splitfed.config.components import Component, distinct_labels
from splitfed.config.tables import AttackerOptions, DataOptions, FederationOptions, ModelOptions
from splitfed.options import Options

CLIENTS_OWN = "clients"
"""The name of a data set of which each client holds its own part, and nobody the whole."""


class Cell(Options):
    """One defense with its options, under one seed."""

    name: str
    defense: Component
    seed: int


class Scenario(Options):
    """One experiment: data, network, federation, and the defenses and attacks to compare."""

    name: str
    about: str = ""
    threat: Literal["split", "end_to_end"] = "split"
    """What the attacker sees: the output of the first linear layer, or of the last hidden one."""
    truth: Literal["lab", "clients"] = "lab"
    """Who holds the private images that reconstructions are scored against: the lab, all of them; or each client its
    own, in a deployment whose lab has none. Then clients report scores, and nothing else of their images."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    seeds: int = Field(default=1, ge=1, le=100)
    """Repeats: seed, seed + 1, ..."""
    data: DataOptions
    model: ModelOptions = ModelOptions()
    federation: FederationOptions = FederationOptions()
    attacker: AttackerOptions = AttackerOptions()
    metrics: tuple[Literal["fid_lite0", "fid"], ...] = ()
    """Scores beside the usual ones, for the strongest attack of each cell; they need the extra ``fid`` and time."""
    defense: tuple[Component, ...] = Field(min_length=1)
    attack: tuple[Component, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _enough_images(self) -> Scenario:
        clients, batch_size, train = self.federation.clients, self.federation.batch_size, self.data.train
        if train // clients < batch_size:
            raise ValueError(
                f"data.train ({train}) / federation.clients ({clients}) = {train // clients} images per client, "
                f"fewer than federation.batch_size ({batch_size})"
            )
        if self.data.test < clients:
            raise ValueError(f"data.test ({self.data.test}) must be at least federation.clients ({clients})")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Scenario:
        if self.federation.labels == "server":
            return self
        if self.federation.variant == "sflv2":
            raise ValueError(
                'federation.labels = "client" does not go with variant = "sflv2": the one back would wait in the '
                'middle of a step, for one client after the other; use variant = "sflv1"'
            )
        if not self.server_layers:
            raise ValueError(
                'federation.labels = "client" leaves the server no layer: it holds the hidden ones, of which there are '
                f'none with threat = "{self.threat}" and model.hidden_layers = {self.model.hidden_layers}'
            )
        return self

    @model_validator(mode="after")
    def _truth_is_somewhere(self) -> Scenario:
        if self.truth == "clients" and self.metrics:
            raise ValueError(
                f'metrics ({", ".join(self.metrics)}) compare all originals at one place, which truth = "clients" '
                "has not: leave them out"
            )
        if self.truth == "lab" and self.data.name == CLIENTS_OWN:
            raise ValueError(f'data.name = "{CLIENTS_OWN}" leaves the lab without images: it needs truth = "clients"')
        return self

    @property
    def client_layers(self) -> int:
        """Hidden layers on the client's side of the cut."""
        return self.model.hidden_layers if self.threat == "end_to_end" else 0

    @property
    def server_layers(self) -> int:
        """Hidden layers on the server's side of the cut."""
        return self.model.hidden_layers - self.client_layers

    @property
    def sealed(self) -> bool:
        """Whether the attacker stands at a wire that it cannot read."""
        return self.federation.tls and self.attacker.vantage == "wire"

    def cells(self) -> tuple[Cell, ...]:
        """The cells in the order in which they run: every defense under the first seed, then the next."""
        labels = distinct_labels(self.defense)
        return tuple(
            Cell(
                name=label if self.seeds == 1 else f"{label}-seed{self.seed + repeat}",
                defense=defense,
                seed=self.seed + repeat,
            )
            for repeat in range(self.seeds)
            for defense, label in zip(self.defense, labels, strict=True)
        )
