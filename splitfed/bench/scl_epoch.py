"""How long epochs of the `sca` network take, its dictionaries updated as the defense does."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import Tensor, nn

from splitfed.bench.measure import timed
from splitfed.defenses.sca import SparseCodingOptions
from splitfed.models.sparse import learn_dictionary
from splitfed.models.sparse_front import SparseFront
from splitfed.types import Images

BATCH = 64
LEARNING_STEPS = 30
EPOCHS = 3
"""In the first, the second layer's dictionary is still near its random start, and its codes are denser."""


def epoch(images: Images, solver: str) -> dict[str, Any]:
    """Epochs of the `sca` network as the defense builds it by default: the first layer's codes once, then front and
    back, with dictionary updates."""
    generator = torch.Generator().manual_seed(0)
    options = SparseCodingOptions()
    front = SparseFront(
        images.shape,
        500,
        l1_weight=options.l1_weight,
        kernel_size=options.kernel_size,
        dictionary_rate=options.dictionary_rate,
        generator=generator,
    )
    for layer in front.sparse_layers():
        layer.solver = solver
    back = nn.Sequential(nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, len(images.classes)))
    _, learn_s = timed(
        lambda: learn_dictionary(
            front.first_layer, images.pixels, steps=LEARNING_STEPS, batch_size=BATCH, generator=generator
        )
    )
    with torch.no_grad():
        codes, first_s = timed(lambda: torch.cat([front.stem(batch) for batch in torch.split(images.pixels, 256)]))
    epochs = [timed(lambda: _train(front, back, codes, images.labels)) for _ in range(EPOCHS)]
    return {
        "case": f"epoch of sca, {len(images)} images",
        "threads": torch.get_num_threads(),
        "dictionary_rate": options.dictionary_rate,
        "learn_first_dictionary_s": round(learn_s, 2),
        "first_layer_codes_s": round(first_s, 2),
        "epoch_s": [round(seconds, 2) for _, seconds in epochs],
        "loss": [round(loss, 4) for loss, _ in epochs],
        "densities": [round(layer.report.density, 4) for layer in front.sparse_layers()],
    }


def _train(front: SparseFront, back: nn.Module, codes: Tensor, labels: Tensor) -> float:
    """One epoch in batches of 64 by SGD; the mean loss."""
    parameters = [*front.body.parameters(), *back.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    losses = []
    order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))
    for rows in torch.split(order, BATCH):
        loss = nn.functional.cross_entropy(back(front.body(codes[rows])), labels[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        front.after_step(torch.ones(len(rows), dtype=torch.bool))
        losses.append(loss.item())
    return statistics.fmean(losses)
