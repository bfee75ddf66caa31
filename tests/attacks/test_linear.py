"""Ridge regression against scikit-learn's, its corner cases, and the whitening."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as Reference
from torch import Tensor

from splitfed.attacks.linear import fit_ridge, mean_map
from splitfed.attacks.whitening import FLOOR, MOST_FEATURES, fit_whitening
from splitfed.metrics import psnr_db
from tests.attacks.worlds import run, small, world


def problem(rows: int, features: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(features, features, generator=generator)
    x = torch.randn(rows, features, generator=generator) @ mixing + 5
    y = x @ torch.randn(features, 7, generator=generator) + torch.randn(rows, 7, generator=generator)
    return x, y


@pytest.mark.parametrize(("rows", "features"), [(80, 20), (30, 90)])
@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_ridge_agrees_with_scikit_learn(rows: int, features: int, penalty: float) -> None:
    """With fewer features than rows, and with more, which takes the other factorization."""
    x, y = problem(rows, features)
    ours = fit_ridge([x], y, validation=(x, y), penalties=[penalty])
    scaled = ((x - x.mean(0)) / x.std(0, correction=0)).double().numpy()
    # scikit-learn's penalty is on the sum of squares, ours on the mean
    reference = Reference(alpha=penalty * rows).fit(scaled, y.double().numpy())
    expected = reference.predict(scaled)
    np.testing.assert_allclose(ours(x).numpy(), expected, atol=2e-3 * float(y.std()))


def test_the_penalty_is_the_one_that_validates_best() -> None:
    x, y = problem(60, 40)
    held_x, held_y = problem(60, 40, seed=0)[0][:20] + 0.3, y[:20]
    penalties = [1e-4, 1e-2, 1.0, 100.0]

    def error(penalty: float) -> float:
        fit = fit_ridge([x], y, validation=(held_x, held_y), penalties=[penalty])
        return float((fit(held_x) - held_y).square().mean())

    chosen = fit_ridge([x], y, validation=(held_x, held_y), penalties=penalties).penalty
    assert chosen == min(penalties, key=error)


def test_several_draws_are_one_stacked_regression() -> None:
    x, y = problem(50, 10)
    noise = torch.randn(3, *x.shape, generator=torch.Generator().manual_seed(1))
    draws = [x + n for n in noise]
    together = fit_ridge(draws, y, validation=(x, y), penalties=[0.1])
    stacked = fit_ridge([torch.cat(draws)], y.repeat(3, 1), validation=(x, y), penalties=[0.1])
    torch.testing.assert_close(together(x), stacked(x), atol=1e-3, rtol=1e-4)


def test_dead_features_count_for_nothing() -> None:
    x, y = problem(80, 20)
    dead = torch.cat([x, torch.full((80, 3), 0.7)], dim=1)
    fits = [fit_ridge([features], y, validation=(features, y), penalties=[0.01]) for features in (x, dead)]
    alive_elsewhere = dead.clone()
    alive_elsewhere[:, 20:] = 1e6
    torch.testing.assert_close(fits[1](alive_elsewhere), fits[0](x), atol=1e-2, rtol=1e-4)


def test_all_features_dead_gives_the_mean() -> None:
    x, y = torch.ones(30, 5), problem(30, 5)[1]
    fit = fit_ridge([x], y, validation=(x, y), penalties=[1e-6, 1.0])
    torch.testing.assert_close(fit(x), mean_map(x, y)(x))


def test_a_linear_layer_without_relu_or_noise_is_inverted() -> None:
    here = world(width=80)
    linear = here.front[:2]  # type: ignore[index]
    knowledge = replace(here.knowledge, observe=lambda pixels, _: linear(pixels))
    attack = small("ridge")
    run(attack, knowledge)
    with torch.no_grad():
        rebuilt = attack.reconstruct(linear(here.victims.pixels))
    assert psnr_db(rebuilt, here.victims.pixels).mean() > 45


def test_whitened_features_have_their_stated_covariance() -> None:
    x, _ = problem(200, 12)
    white = fit_whitening(x)(x).double()
    standardized = ((x - x.mean(0)) / x.std(0, correction=0)).double()
    variances = torch.linalg.eigvalsh(standardized.T @ standardized / len(x))
    expected = variances * (1 + FLOOR) / (variances + FLOOR)
    covariance = white.T @ white / len(x)
    torch.testing.assert_close(torch.linalg.eigvalsh(covariance), expected, atol=1e-3, rtol=1e-3)


def test_whitening_leaves_dead_features_at_zero_and_very_wide_ones_uncorrelated_or_not() -> None:
    generator = torch.Generator().manual_seed(0)
    for features in (6, MOST_FEATURES + 1):
        x = torch.randn(40, features, generator=generator)
        x[:, 2] = 3.0
        white = fit_whitening(x)(x)
        assert bool(white.isfinite().all())
        assert white[:, 2].abs().max() < 1e-5
