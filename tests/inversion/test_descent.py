"""Descent lowers its loss, and stays where the prior is."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from splitfed.inversion.descent import descend
from splitfed.inversion.losses import LOSSES
from splitfed.inversion.options import PlugAndPlayOptions
from tests.inversion.worlds import generator, target

START = generator().sample(30, torch.Generator().manual_seed(5))
WANTED = torch.arange(30) % 10


def path(**options: object) -> list[torch.Tensor]:
    given = PlugAndPlayOptions.model_validate({"steps": 30, "learning_rate": 0.05, **options})
    steps = list(descend(START, WANTED, target(), generator(), given, torch.Generator().manual_seed(0)))
    assert [step.number for step in steps] == list(range(31))
    return [step.latents for step in steps]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_falls_for_the_images_themselves(loss: str) -> None:
    latents = path(loss=loss)
    first, last = (LOSSES[loss](target()(generator().synthesize(each)), WANTED).mean() for each in (START, latents[-1]))
    assert torch.equal(latents[0], START)
    assert float(last) < float(first) - 0.1


def test_latents_are_held_inside_the_prior() -> None:
    prior = generator().prior
    far = path(learning_rate=1.0)
    assert float(prior.distance(far[-1]).max()) <= 1 + 1e-4
    assert float(prior.distance(path(learning_rate=1.0, hold=False)[-1]).max()) > 1.2


def test_each_latent_is_optimized_by_itself() -> None:
    options = PlugAndPlayOptions(steps=5, crop_scale=(1.0, 1.0))
    draws = torch.Generator().manual_seed(0)
    *_, together = descend(START, WANTED, target(), generator(), options, draws)
    *_, alone = descend(START[3:4], WANTED[3:4], target(), generator(), options, draws)
    torch.testing.assert_close(together.latents[3:4], alone.latents, rtol=0, atol=1e-4)


def test_the_learning_rate_falls_toward_the_end() -> None:
    options = PlugAndPlayOptions(steps=10, learning_rate=0.1, crop_scale=(1.0, 1.0), loss="max_margin", hold=False)
    steps = list(descend(START, WANTED, target(), generator(), options, torch.Generator().manual_seed(0)))
    lengths = [float((b.latents - a.latents).abs().max()) for a, b in pairwise(steps)]
    assert max(lengths[8:]) < 0.05 * min(lengths[:6])
