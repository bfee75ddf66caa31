"""Which node of the grid is which client.

Flower numbers nodes as it likes, and not every node is a client: an attacker that takes part registers as one too. A
client's number is its own, said when it is asked to `join`; from then on whose a reply is says the node alone.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from splitfed.errors import SplitfedError
from splitfed.federation.attendance import CLIENT_RAISED
from splitfed.federation.clients_grid import ClientsGrid
from splitfed.types import ImageShape

JOIN = "query.join"
"""The type of the Message that asks a node who it is."""
CLIENT = "client"
"""The role of a node that holds images."""
ANY = -1
"""The number of a client that takes whichever is free."""
NO_SHAPE = ImageShape(0, 0, 0)
"""Of images that nobody knows yet."""
ANSWER_S = 30.0
"""How long a node may take to say who it is; it may have to load its images first."""
PAUSE_S = 0.2
"""Between two looks at who is there."""


class Roster(Protocol):
    """Knows the clients of a grid."""

    def refresh(self, grid: Grid, config: ConfigRecord) -> None:
        """Look who is there, before a round; `config` is what is said to all."""

    def client_of(self, node: int) -> int:
        """The number of the client behind a node."""

    def clients_of(self, grid: Grid) -> Grid:
        """The same grid, with no nodes but those of clients."""

    def absent(self) -> Mapping[int, str]:
        """The clients that are not there, by number, with the reason."""


class NumberedNodes:
    """Nodes that are clients all, numbered from 1 in their order, as those of a `LocalGrid`."""

    def refresh(self, grid: Grid, config: ConfigRecord) -> None:
        """Nobody comes or goes."""

    def client_of(self, node: int) -> int:
        """The number of the client behind a node."""
        return node - 1

    def clients_of(self, grid: Grid) -> Grid:
        """The grid itself."""
        return grid

    def absent(self) -> Mapping[int, str]:
        """Nobody is."""
        return {}


class Introduction(NamedTuple):
    """What a node says of itself.

    Attributes:
        role: `CLIENT`, or another.
        client: its number; `ANY` where the server is to say.
        images: how many it trains on; 0 where it does not know yet.
        key: what shows that it may have its role.
        classes: of its images; 0 where it does not know yet, as `channels`, `height` and `width`, those of one image.
    """

    role: str
    client: int = ANY
    images: int = 0
    key: str = ""
    classes: int = 0
    channels: int = 0
    height: int = 0
    width: int = 0

    @property
    def shape(self) -> ImageShape:
        """Of one image."""
        return ImageShape(self.channels, self.height, self.width)


_KINDS = {name: type(value) for name, value in Introduction("")._asdict().items()}


class JoinedNodes:
    """Asks each node who it is.

    A number belongs to the node that first said it, until that does not answer any more: then a newer one, as of a
    client that was started anew, takes its place.

    Args:
        clients: how many there are to be.
        patience_s: how long to wait for all of them, and for all `roles`, before the first round. Whoever is not there
            by then may join at a later one.
        notice: gets a sentence for the user.
        roles: other roles that take part, each with the key that shows who may have it; empty where everyone may.

    Attributes:
        others: nodes of other roles, by role; of two of one role the newer.
        images: how many images each client said that it trains on, by its number.
        said: all that each client said of itself.
    """

    def __init__(
        self,
        clients: int,
        *,
        patience_s: float,
        notice: Callable[[str], None],
        roles: Mapping[str, str] | None = None,
    ) -> None:
        self._clients = clients
        self._patience_s = patience_s
        self._notice = notice
        self._nodes: dict[int, int] = {}  # by the client's number
        self._known: set[int] = set()
        self._complained: set[tuple[int, str | None]] = set()
        self._begun = False
        self._roles = dict(roles or {})
        self.others: dict[str, int] = {}
        self.images: dict[int, int] = {}
        self.said: dict[int, Introduction] = {}

    def refresh(self, grid: Grid, config: ConfigRecord) -> None:
        """Ask the nodes that are new; before the first round wait for all clients.

        Raises:
            SplitfedError: there is no client at all.
        """
        deadline = time.monotonic() + (0.0 if self._begun else self._patience_s)
        while True:
            self._meet(grid, config)
            if (not self.absent() and self._roles.keys() <= self.others.keys()) or time.monotonic() >= deadline:
                break
            time.sleep(PAUSE_S)
        self._begun = True
        if not self._nodes:
            raise SplitfedError(
                f"no client joined within {self._patience_s:g} s: see that they run and reach the SuperLink, then go "
                "on with --resume"
            )

    def client_of(self, node: int) -> int:
        """The number of the client behind a node.

        Raises:
            KeyError: it is no client's.
        """
        return {node: client for client, node in self._nodes.items()}[node]

    def node_of(self, client: int) -> int | None:
        """The node of the client with this number; None where it has not joined."""
        return self._nodes.get(client)

    def clients_of(self, grid: Grid) -> Grid:
        """The same grid, with no nodes but those of clients, in the order of their numbers."""
        return ClientsGrid(grid, [node for _, node in sorted(self._nodes.items())])

    def absent(self) -> Mapping[int, str]:
        """The clients that have not joined."""
        return {number: "it has not joined" for number in range(self._clients) if number not in self._nodes}

    def _meet(self, grid: Grid, config: ConfigRecord) -> None:
        here = set(grid.get_node_ids())
        new = sorted(here - self._known)
        told, cannot = self._ask(grid, new, config)
        for node, introduction in told.items():
            self._known.add(node)
            self._seat(grid, config, node, introduction)
        for node, error in cannot.items():
            self._left_out(node, error)

    def _left_out(self, node: int, error: Error) -> None:
        """A node that said why it cannot join would say so again; one that was lost on the way is asked again."""
        if error.code == CLIENT_RAISED:
            self._known.add(node)
        if (node, error.reason) not in self._complained:
            self._complained.add((node, error.reason))
            self._notice(f"a node cannot join: {error.reason}")

    def _seat(self, grid: Grid, config: ConfigRecord, node: int, introduction: Introduction) -> None:
        if introduction.role != CLIENT:
            self._cast(node, introduction)
            return
        number = self._free() if introduction.client == ANY else introduction.client
        if not 0 <= number < self._clients:
            last = self._clients - 1
            self._notice(f"a node says that it is client {number}; this run has 0 to {last}: it is left out")
            return
        holder = self._nodes.get(number)
        if holder is not None and self._ask(grid, [holder], config)[0]:
            self._notice(f"two nodes say that they are client {number}: the later one is left out")
            return
        self._nodes[number] = node
        self.images[number] = introduction.images
        self.said[number] = introduction

    def _cast(self, node: int, introduction: Introduction) -> None:
        """Give a node its role, if it may have it."""
        key = self._roles.get(introduction.role)
        if key is not None and hmac.compare_digest(key.encode(), introduction.key.encode()):
            self.others[introduction.role] = node

    def _free(self) -> int:
        """The lowest number that nobody has; beyond the last where there is none."""
        return next(number for number in range(self._clients + 1) if number not in self._nodes)

    def _ask(
        self, grid: Grid, nodes: Iterable[int], config: ConfigRecord
    ) -> tuple[dict[int, Introduction], dict[int, Error]]:
        """Who these nodes are, of those that answer with something that fits, and the errors of others."""
        asked = list(nodes)
        if not asked:
            return {}, {}
        messages = [Message(RecordDict({"config": ConfigRecord(dict(config))}), node, JOIN) for node in asked]
        told: dict[int, Introduction] = {}
        cannot: dict[int, Error] = {}
        for reply in ClientsGrid(grid, asked).send_and_receive(messages, timeout=ANSWER_S):
            node = reply.metadata.src_node_id
            if reply.has_error():
                cannot[node] = reply.error
            elif (said := _introduction(reply)) is not None and node in asked:
                told[node] = said
        return told, cannot


def introduction(
    role: str, *, client: int = ANY, images: int = 0, key: str = "", classes: int = 0, shape: ImageShape = NO_SHAPE
) -> RecordDict:
    """What a node answers that is asked who it is; see `Introduction`."""
    return RecordDict({"who": ConfigRecord(Introduction(role, client, images, key, classes, *shape)._asdict())})


def _introduction(reply: Message) -> Introduction | None:
    """What a node says, if it fits."""
    said = dict(reply.content.config_records.get("who", ConfigRecord()))
    fits = {name: type(value) for name, value in said.items()} == _KINDS
    return Introduction(**said) if fits else None  # type: ignore[arg-type]
