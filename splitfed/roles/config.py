"""What each role of a deployment is told, in a file of its own on its own machine."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from splitfed.attacker.config import Address, UserPath
from splitfed.errors import ScenarioError
from splitfed.options import Options, explain
from splitfed.roles.membership import Membership
from splitfed.wire.address import split_address
from splitfed.wire.tls import TlsFiles

Settings = TypeVar("Settings", bound="RoleOptions")


class RoleOptions(Options):
    """What all roles have in common."""

    superlink: Address = "127.0.0.1:8000"
    """host:port of Flower's SuperLink."""
    certs: UserPath | None = None
    """This party's folder of certificates and keys, as `splitfed certs` makes it; without, all travels in clear."""
    health: Address | None = None
    """host:port that answers GET /health with 200 once the role is ready; none by default."""

    def membership(self, number: int = -1) -> Membership:
        """How the role's node takes part."""
        return Membership.of(self.superlink, self.certs, number)

    def tls(self) -> TlsFiles | None:
        """What the split service is put under TLS with."""
        return None if self.certs is None else TlsFiles.in_folder(self.certs)


class OwnImages(Options):
    """A client's own images: a folder with a folder for each class."""

    folder: UserPath
    classes: tuple[str, ...] = ()
    """All classes of the task in their order, those too of which this client has no image; by default its own folders
    by name."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """The share of them that is not trained on but tested with."""


class ClientOptions(RoleOptions):
    """One client. It holds its own images, or takes its share of a data set that lies on its machine."""

    client: Annotated[int, Field(ge=0)] | Literal["any"] = "any"
    """Its number, from 0; or whichever is free."""
    images: OwnImages | None = None
    """Its own images; without, its share by number of the scenario's data set."""
    data_root: UserPath | None = None
    """Where the scenario's data set lies; else as `splitfed scenario` looks for it."""
    addresses: tuple[Address, ...] = ()
    """Where it reaches the server, in turn; else what the server says."""
    scores: int = Field(default=200, ge=0)
    """How many reconstructions of each of its images it scores in runs whose lab has no images, all runs since it was
    started together; 0 for none. Each score tells a little of the image: see docs/threat_models.md."""


class SuperLinkOptions(Options):
    """A SuperLink that the server's role starts and ends with itself."""

    host: str = "127.0.0.1"
    """The address of this machine that it listens on; 0.0.0.0 for all of them."""
    database: UserPath | None = None
    """A file in which it keeps its state, so that it can be started again; in memory by default."""
    nodes: UserPath | None = None
    """The folder that `splitfed certs` made, whose parties alone it lets in; goes with `certs`."""


class ServerOptions(RoleOptions):
    """The server: it hosts Flower's ServerApp, which holds the back and serves the clients' streams."""

    listen: Address = "127.0.0.1:9091"
    """host:port of the split service while a cell is trained."""
    addresses: tuple[Address, ...] = ()
    """What clients are told to dial, in turn; `listen` by default. A relay that is to be the only way stands here."""
    state: UserPath = Path("server-state")
    """Where it keeps checkpoints."""
    patience_s: float = Field(default=120.0, gt=0)
    """How long it waits for all parties before the first round of a cell."""
    start_superlink: SuperLinkOptions | None = None
    """Start a SuperLink at `superlink`'s port; without, one runs already."""

    @model_validator(mode="after")
    def _has_ports(self) -> ServerOptions:
        if split_address(self.listen)[1] == 0 and not self.addresses:
            raise ValueError("listen has port 0, which clients cannot dial: give a port, or `addresses`")
        return self


class AttackerNodeOptions(RoleOptions):
    """The attacker that takes part in a deployment: it relays the wire, and gets the fronts as a node."""

    listen: Address = "127.0.0.1:9092"
    """host:port for the clients."""
    upstream: Address = "127.0.0.1:9091"
    """host:port of the split service."""
    auxiliary: UserPath
    """The attacker's own images: an .npz file as attacker/README.md describes it."""
    state: UserPath = Path("attacker-state")
    """Where it records and reconstructs, a folder for each cell."""

    @model_validator(mode="after")
    def _leads_to_the_server(self) -> AttackerNodeOptions:
        if self.upstream == self.listen:
            raise ValueError(f"upstream and listen are both {self.listen}: the relay would lead back to itself")
        return self


def read_table(path: Path) -> dict[str, Any]:
    """The settings in a TOML or JSON file, not yet validated.

    Raises:
        ScenarioError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # what both parsers raise
        raise ScenarioError(f"{path} is neither valid JSON (.json) nor valid TOML: {error}") from error
    return table


def load_settings(kind: type[Settings], path: Path) -> Settings:
    """A role's settings from a TOML or JSON file.

    Raises:
        ScenarioError: the file cannot be read, or a key or value does not fit.
    """
    try:
        return kind.model_validate(read_table(path))
    except ValidationError as error:
        raise ScenarioError(explain(error, kind, path.name)) from None
