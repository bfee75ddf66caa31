"""How the cells of a run were trained, in sentences beneath their table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitfed.records.results import Results, TrainingInfo


def how_trained(results: Results) -> list[str]:
    """The codec, and whatever is not as usual; nothing for results from before this was recorded."""
    info = results.training
    if info is None:
        return []
    return [
        f"Tensors travel as {info.codec}.",
        *([_shared(info)] if info.variant == "sflv2" else []),
        *(["Labels and the last layer stay with the clients (U-shaped)."] if info.labels == "client" else []),
        *([_drawn(info)] if info.client_fraction < 1 else []),
    ]


def _shared(info: TrainingInfo) -> str:
    again = "" if info.repeats else ", in an order that is up to the network: another run gives other numbers"
    return f"All clients' steps update one back (SplitFed v2){again}."


def _drawn(info: TrainingInfo) -> str:
    return f"In each round {info.client_fraction:.0%} of the {info.clients} clients train, drawn from the seed."
