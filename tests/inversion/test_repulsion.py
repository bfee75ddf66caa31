"""Away from a boundary whose place is known."""

from __future__ import annotations

import torch

from splitfed.generators import Prior
from splitfed.inversion.options import PlugAndPlayOptions
from splitfed.inversion.repulsion import repel

PRIOR = Prior(torch.zeros(1, 4), torch.eye(4)[None], 20.0, torch.ones(4))
OPTIONS = PlugAndPlayOptions(sphere_points=64, sphere_radius=1.0, label_steps=40)


def inside(latents: torch.Tensor) -> torch.Tensor:
    """The half space to the right of 0."""
    return latents[:, 0] > 0


def test_it_moves_straight_away_from_the_boundary() -> None:
    start = torch.tensor([[0.1, 0.0, 0.0, 0.0]]).repeat(8, 1)
    steps = list(repel(start, inside, PRIOR, OPTIONS, torch.Generator().manual_seed(0)))
    end = steps[-1].latents
    assert bool((end[:, 0] > 1).all())
    assert float(end[:, 1:].abs().max()) < 0.5 * float(end[:, 0].min())
    assert bool((steps[-1].radius > OPTIONS.sphere_radius).all()), "and its sphere has grown"


def test_it_never_leaves_the_class() -> None:
    start = torch.rand(16, 4, generator=torch.Generator().manual_seed(1)) + 0.01
    for step in repel(start, inside, PRIOR, OPTIONS, torch.Generator().manual_seed(0)):
        assert bool(inside(step.latents).all())


def test_what_begins_outside_stays_where_it_is() -> None:
    start = torch.tensor([[-1.0, 0.0, 0.0, 0.0]])
    *_, last = repel(start, inside, PRIOR, OPTIONS, torch.Generator().manual_seed(0))
    assert torch.equal(last.latents, start)
    assert float(last.radius) == OPTIONS.sphere_radius


def test_it_stays_inside_the_prior() -> None:
    prior = Prior(PRIOR.centers, PRIOR.whiteners, 0.5, PRIOR.spread)
    *_, last = repel(torch.full((4, 4), 0.05), inside, prior, OPTIONS, torch.Generator().manual_seed(0))
    assert float(prior.distance(last.latents).max()) <= 1 + 1e-4
