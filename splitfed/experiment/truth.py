"""Truth: which image is behind an opaque index. Only the lab has it, and it goes straight to `metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from splitfed.federation.client import ClientImages
from splitfed.federation.job import Job
from splitfed.federation.order import evaluation_batches, training_batches
from splitfed.federation.participants import participants
from splitfed.types import Images


@dataclass(frozen=True)
class Truth:
    """The victims' images of one cell.

    Attributes:
        job: the cell; its seed says in which order each client sends its images.
        clients: what each client holds.
    """

    job: Job
    clients: Sequence[ClientImages]

    def originals(self, index: np.ndarray) -> Images:
        """The images behind rows (round, client, step, row) of an opaque index, in its order.

        Rounds up to the last training round name training batches; the round after them is the audit. Where a
        defense has its clients train on generated images too, those are nobody's: ask `private` first.

        Raises:
            IndexError: a row names no image.
        """
        chosen = [self._of_stream(index, stream) for stream in _streams(index)]
        order = torch.cat([places for places, _ in chosen])
        images = [images for _, images in chosen]
        pixels = torch.cat([part.pixels for part in images])
        labels = torch.cat([part.labels for part in images])
        back = torch.argsort(order)
        return Images(pixels[back], labels[back], images[0].classes)

    def sent(self, round_number: int) -> int:
        """How many activations of clients' own images their TRAIN streams of this round hold."""
        options = self.job.scenario.federation
        return sum(
            int((rows < images).sum())
            for client in participants(options, self.job.cell.seed, round_number)
            for images in [len(self.clients[client].train)]
            for rows in self._batches(round_number, client, images)
        )

    def audited(self, index: np.ndarray) -> np.ndarray:
        """Under which opaque index the image behind each of these rows is audited: int64, (N, 4).

        Raises:
            IndexError: a row names no image, or one that is generated.
        """
        clients, rows = self.rows(index)
        if not self.private(index).all():
            raise IndexError("a row is of no client's own image, and generated ones are not audited")
        options = self.job.scenario.federation
        audit = np.full_like(rows, options.rounds + 1)
        return np.column_stack([audit, clients, rows // options.batch_size, rows % options.batch_size])

    def places(self, rows: Sequence[Sequence[int]]) -> list[tuple[int, int, int, int]]:
        """Where images come past, as opaque indices: in each round when they first do, and in the audit.

        Args:
            rows: by client, which of its training images.
        """
        rounds = range(1, self.job.scenario.federation.rounds + 2)
        return [
            (number, client, step, row)
            for number in rounds
            for client, wanted in enumerate(rows)
            if wanted
            for step, row in _first_places(self._batches(number, client, len(self.clients[client].train)), wanted)
        ]

    def private(self, index: np.ndarray) -> np.ndarray:
        """Which rows of an opaque index come from a client's own image: bool, (N,).

        Raises:
            IndexError: a row names no image, nor one that was generated.
        """
        found = np.zeros(len(index), dtype=bool)
        for stream in _streams(index):
            places, rows = self._rows_of(index, stream)
            found[places] = rows < len(self.clients[stream[1]].train)
        return found

    def rows(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The client behind each row of an opaque index, and which of its training images: int64, (N,) each.

        Rows at or beyond the number of its images are of generated ones.

        Raises:
            IndexError: a row names no image.
        """
        clients, rows = np.zeros(len(index), np.int64), np.zeros(len(index), np.int64)
        for stream in _streams(index):
            places, found = self._rows_of(index, stream)
            clients[places], rows[places] = stream[1], found
        return clients, rows

    def _of_stream(self, index: np.ndarray, stream: tuple[int, int]) -> tuple[Tensor, Images]:
        """Where this stream's rows stand in `index`, and the images behind them."""
        places, rows = self._rows_of(index, stream)
        own = self.clients[stream[1]].train
        for place in places[rows >= len(own)]:
            raise IndexError(f"{_named(index[place].tolist())} is of no client's own image")
        return torch.from_numpy(places), own[torch.from_numpy(rows)]

    def _rows_of(self, index: np.ndarray, stream: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Where this stream's rows stand in `index`, and which of the client's training images they are."""
        round_number, client = stream
        audit = self.job.scenario.federation.rounds + 1
        known = 1 <= round_number <= audit and 0 <= client < len(self.clients)
        batches = self._batches(round_number, client, len(self.clients[client].train)) if known else []
        places = np.flatnonzero((index[:, 0] == round_number) & (index[:, 1] == client))
        rows = []
        for step, row in index[places, 2:].tolist():
            if not (0 <= step < len(batches) and 0 <= row < len(batches[step])):
                raise IndexError(f"{_named((*stream, step, row))} names no image")
            rows.append(int(batches[step][row]))
        return places, np.array(rows, dtype=np.int64)

    def _batches(self, round_number: int, client: int, images: int) -> list[Tensor]:
        if round_number > self.job.scenario.federation.rounds:
            return evaluation_batches(self.job, images)
        trained_on = images + self.job.defense().generated(images)
        return training_batches(self.job, client, trained_on, round_number)


def _first_places(batches: Sequence[Tensor], wanted: Sequence[int]) -> list[tuple[int, int]]:
    """Step and row where each of these images is first."""
    order = torch.cat(list(batches)).numpy()
    starts = np.cumsum([0, *map(len, batches)])
    found = np.flatnonzero(np.isin(order, wanted))
    places = np.sort(found[np.unique(order[found], return_index=True)[1]])
    steps = np.searchsorted(starts, places, side="right") - 1
    return list(zip(steps.tolist(), (places - starts[steps]).tolist(), strict=True))


def _named(row: Sequence[int]) -> str:
    return "round {}, client {}, step {}, row {}".format(*row)


def _streams(index: np.ndarray) -> list[tuple[int, int]]:
    return [(int(r), int(c)) for r, c in np.unique(index[:, :2], axis=0)]
