"""Where latents lie, in cases with a known answer."""

from __future__ import annotations

import torch

from splitfed.generators.prior import Prior, measured_prior


def test_distances_are_shares_of_the_radius() -> None:
    prior = Prior(torch.zeros(1, 2), torch.diag(torch.tensor([1.0, 0.5]))[None], 2.0, torch.tensor([1.0, 2.0]))
    latents = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 8.0]])
    torch.testing.assert_close(prior.distance(latents), torch.tensor([1.0, 0.5, 2.0]))
    torch.testing.assert_close(prior.hold(latents), torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 4.0]]))


def test_of_several_ellipsoids_the_nearest_counts() -> None:
    centers = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    prior = Prior(centers, torch.eye(2).expand(2, 2, 2), 1.0, torch.ones(2))
    torch.testing.assert_close(prior.hold(torch.tensor([[7.0, 0.0]])), torch.tensor([[9.0, 0.0]]))


def test_a_measured_prior_has_the_quantile_of_a_gaussian() -> None:
    samples = torch.randn(20000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1]) + 7
    prior = measured_prior(samples)
    torch.testing.assert_close(prior.spread, torch.tensor([1.0, 5.0, 0.1]), rtol=0.03, atol=0)
    assert abs(prior.radius - 3.368) < 0.05  # sqrt of the 99 % quantile of chi-square with 3 degrees of freedom


def test_latents_of_any_shape_keep_it() -> None:
    samples = torch.randn(100, 2, 3, generator=torch.Generator().manual_seed(0))
    assert measured_prior(samples).hold(samples * 9).shape == samples.shape
