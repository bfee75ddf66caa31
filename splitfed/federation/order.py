"""Which image stands where in a client's streams. A function of the seed alone, so that a score can be traced."""

from __future__ import annotations

import torch
from torch import Tensor

from splitfed.federation.job import Job
from splitfed.seeding import generator

SMALLEST_BATCH = 2
"""Images in a training batch: batch norm has no variance over a single one."""


def training_batches(job: Job, client: int, images: int, round_number: int) -> list[Tensor]:
    """The rows of each batch that a client with so many images trains on in a round, in order.

    A last batch that is smaller than `SMALLEST_BATCH` is left out.
    """
    options = job.scenario.federation
    batches: list[Tensor] = []
    for epoch in range(options.local_epochs):
        drawn_from = generator(job.cell.seed, "order", client, round_number, epoch)
        shuffled = torch.randperm(images, generator=drawn_from)
        batches += [rows for rows in torch.split(shuffled, options.batch_size) if len(rows) >= SMALLEST_BATCH]
    return batches


def evaluation_batches(job: Job, images: int) -> list[Tensor]:
    """The rows of each batch of an evaluation: all images in their own order."""
    return list(torch.split(torch.arange(images), job.scenario.federation.batch_size))
