"""Which clients train in a round: all of them, or a part that is drawn anew each round (federated averaging, McMahan et
al. 2017, arXiv 1602.05629).

The draw is a function of the run's seed and the round alone, so that a run repeats and a resumed one goes on the same.
Flower's strategies draw from Python's own generator: they address everyone here, and messages to the others are not
sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import torch
from flwr.app import Message

from splitfed.config.tables import FederationOptions
from splitfed.seeding import generator


def participants_per_round(options: FederationOptions) -> int:
    """How many clients train in each round: at least one."""
    return max(1, round(options.client_fraction * options.clients))


def participants(options: FederationOptions, seed: int, round_number: int) -> tuple[int, ...]:
    """The numbers of the clients that train in this round, ascending: at least one."""
    drawn_from = generator(seed, "clients", round_number)
    drawn = torch.randperm(options.clients, generator=drawn_from)[: participants_per_round(options)]
    return tuple(sorted(drawn.tolist()))


def rounds_of_clients(options: FederationOptions, seed: int) -> tuple[int, ...]:
    """In how many rounds each client trains, by its number."""
    drawn = [participants(options, seed, number) for number in range(1, options.rounds + 1)]
    return tuple(sum(client in clients for clients in drawn) for client in range(options.clients))


def addressed_to(
    messages: Iterable[Message], clients: Collection[int], client_of: Callable[[int], int]
) -> list[Message]:
    """Those of the messages that are for these clients, whose numbers `client_of` says by their nodes."""
    return [message for message in messages if client_of(message.metadata.dst_node_id) in clients]
