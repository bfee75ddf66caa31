"""The control that only looks up: it gives images of its own, the right one where it has it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from splitfed.attacks.base import images_of
from splitfed.metrics import psnr_db
from splitfed.models.channel import log_likelihood
from splitfed.types import Channel, Images
from tests.attacks.worlds import run, small, world


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_it_gives_the_likeliest_of_its_own_images_with_the_label(noise: float) -> None:
    """Against a search through all of them."""
    here = world(noise=noise)

    def channel(pixels: torch.Tensor) -> Channel | None:
        location = here.knowledge.expected(pixels).detach()
        return Channel("gaussian", location, torch.full_like(location, noise)) if noise else None

    attack = small("retrieval")
    run(attack, replace(here.knowledge, channel=channel))
    observed = here.observed().detach()
    made = images_of(attack, observed, here.victims.labels)
    own = here.knowledge.auxiliary
    fit = attack._begun.auxiliary.fit  # type: ignore[attr-defined]
    location = here.knowledge.expected(own.pixels[fit]).detach()
    scores = log_likelihood(observed, Channel("gaussian", location, torch.ones_like(location)))
    scores = scores.masked_fill(here.victims.labels[:, None] != own.labels[fit][None], -torch.inf)
    torch.testing.assert_close(made, own.pixels[fit][scores.argmax(dim=1)])


def test_a_victim_among_its_own_images_is_found_and_another_is_not_reconstructed() -> None:
    here = world()
    own = here.knowledge.auxiliary
    known = Images(
        torch.cat([own.pixels, here.victims.pixels]), torch.cat([own.labels, here.victims.labels]), own.classes
    )
    attack = small("retrieval")
    run(attack, replace(here.knowledge, auxiliary=known))
    assert float((psnr_db(here.images(attack), here.victims.pixels) == 100).double().mean()) > 0.85
    attack = small("retrieval")
    run(attack, here.knowledge)
    scored = psnr_db(here.images(attack), here.victims.pixels)
    assert float(scored.max()) < 100
    ridge = small("ridge")
    run(ridge, here.knowledge)
    assert float(scored.mean()) < float(psnr_db(here.images(ridge), here.victims.pixels).mean())
