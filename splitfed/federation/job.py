"""What a ServerApp and its ClientApps agree on: one cell of a scenario, carried in a Message's settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from flwr.app import ConfigRecord
from torch import nn

from splitfed import defenses
from splitfed.config.scenario import Cell, Scenario
from splitfed.defenses import Defense
from splitfed.defenses.base import TrainingPlan, trainable
from splitfed.federation.participants import participants, rounds_of_clients
from splitfed.models.back import Back
from splitfed.models.front import Front, FrontSpec, initialize
from splitfed.seeding import generator
from splitfed.types import ImageShape
from splitfed.wire.proof import client_token


@dataclass(frozen=True)
class Job:
    """One cell to be trained.

    Attributes:
        run: names the cell on the wire.
        scenario: the whole experiment.
        cell: the defense and the seed.
        shape: of one image; all zeros until the clients have said it.
        classes: how many classes there are; 0 until the clients have said it.
        secret: the server's: what the clients' tokens are derived from; a client's copy has none.
        token: a client's: with it a stream proves whose it is.
    """

    run: str
    scenario: Scenario
    cell: Cell
    shape: ImageShape
    classes: int
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def defense(self) -> Defense:
        """The cell's defense."""
        return defenses.build(self.cell.defense.name, self.cell.defense.options)

    def front(self) -> Front:
        """The front as it is before the first round, the same in every process."""
        return self.defense().build_front(self.front_spec, generator(self.cell.seed, "front"))

    def back(self) -> Back:
        """The back as it is before the first round."""
        back = Back(self.released, self.scenario.model.width, self.classes, self.scenario.server_layers)
        initialize(back, generator(self.cell.seed, "back"))
        return back

    @property
    def keeps_labels(self) -> bool:
        """Whether labels and the last layer, the head, stay with the clients."""
        return self.scenario.federation.labels == "client"

    def head(self) -> nn.Module | None:
        """The clients' last layer as it is before the first round; None where the server has it."""
        return self.head_of(self.back()) if self.keeps_labels else None

    def head_of(self, back: Back) -> nn.Module | None:
        """The clients' part of `back`, which shares its weights; None where it is all the server's."""
        return back.parts()[1] if self.keeps_labels else None

    def server_part(self, back: Back) -> nn.Module:
        """The server's part of `back`, which shares its weights: all of it where labels travel."""
        return back.parts()[0] if self.keeps_labels else back

    @property
    def front_spec(self) -> FrontSpec:
        """What the front has to fit."""
        return FrontSpec(self.shape, self.scenario.model.width, self.scenario.client_layers)

    @property
    def released(self) -> int:
        """Numbers per image that leave a client."""
        return self.defense().released(self.scenario.model.width)

    def plan(self, images: Sequence[int]) -> TrainingPlan:
        """How long each client trains, from how many images each holds."""
        federation, defense = self.scenario.federation, self.defense()
        return TrainingPlan(
            images=tuple(own + defense.generated(own) for own in images),
            batch_size=federation.batch_size,
            rounds=federation.rounds,
            client_rounds=rounds_of_clients(federation, self.cell.seed),
            local_epochs=federation.local_epochs,
            classes=self.classes,
        )

    def participants(self, round_number: int) -> tuple[int, ...]:
        """The clients that train in this round, ascending."""
        return participants(self.scenario.federation, self.cell.seed, round_number)

    def optimizer(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        """A new optimizer over what `module` has to train; both sides make theirs anew each round."""
        options = self.scenario.federation
        parameters = trainable(module)
        if options.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=options.learning_rate)
        return torch.optim.SGD(parameters, lr=options.learning_rate, momentum=options.momentum)

    def back_noise(self, round_number: int, client: int, step: int) -> torch.Generator:
        """For a server whose gradients are randomized."""
        return generator(self.cell.seed, "back", client, round_number, step)

    def to_config(self, addresses: list[str]) -> ConfigRecord:
        """The settings of all Messages; `addresses` are tried in this order by a client's stream."""
        return ConfigRecord(
            {
                "run": self.run,
                "scenario": self.scenario.model_dump_json(),
                "cell": self.cell.model_dump_json(),
                "shape": list(self.shape),
                "classes": self.classes,
                "addresses": list(addresses),
            }
        )

    def config_of(self, client: int, config: ConfigRecord) -> ConfigRecord:
        """A copy of what `to_config` wrote, for one client alone: with its number and its token."""
        return ConfigRecord({**config, "client": client, "token": client_token(self.secret, client)})

    @classmethod
    def from_config(cls, config: ConfigRecord) -> Job:
        """What `config_of` wrote; or what `to_config` did, which has no token yet."""
        shape = config["shape"]
        assert isinstance(shape, list)
        return cls(
            run=str(config["run"]),
            scenario=Scenario.model_validate_json(str(config["scenario"])),
            cell=Cell.model_validate_json(str(config["cell"])),
            shape=ImageShape(*(int(edge) for edge in shape)),
            classes=int(str(config["classes"])),
            token=str(config.get("token", "")),
        )
