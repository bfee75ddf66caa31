"""The posterior mean and the local Gaussian against brute force, against ridge regression, and at their edges."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from splitfed.attacks import build
from splitfed.attacks.candidates import candidates
from splitfed.attacks.inverter import Inverter
from splitfed.attacks.linear import fit_ridge
from splitfed.attacks.local_gaussian import Settings, class_prior
from splitfed.attacks.posterior_mean import EXPONENTS, posterior_means
from splitfed.attacks.through_noise import ensemble_update
from splitfed.attacks.through_relu import affine_map, through_relu
from splitfed.metrics import class_mean, psnr_db, ssim
from splitfed.types import Channel, Images, Knowledge
from tests.attacks.worlds import World, run, small, world


def toy(law: str = "laplace", *, number: int = 60, says: bool = True) -> Knowledge:
    """Images of 2×2 pixels of two classes behind three numbers with noise."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(number, 1, 2, 2, generator=generator)
    weight = torch.randn(4, 3, generator=generator)
    scale = 0.3 + torch.rand(number, 3, generator=generator) * (law == "gaussian")

    def expected(images: Tensor) -> Tensor:
        return images.flatten(1) @ weight

    def channel(images: Tensor) -> Channel | None:
        where = (images.flatten(1)[:, None] - pixels.flatten(1)[None]).abs().sum(dim=2).argmin(dim=1)
        return Channel(law, expected(images), scale[where]) if says else None  # type: ignore[arg-type]

    def observe(images: Tensor, draws: torch.Generator) -> Tensor:
        known = channel(images) or Channel("gaussian", expected(images), torch.tensor(0.3))
        if known.law == "gaussian":
            return known.location + known.scale * torch.randn(known.location.shape, generator=draws)
        signs = torch.rand(known.location.shape, generator=draws) - 0.5
        return known.location - known.scale * signs.sign() * (1 - 2 * signs.abs()).log()

    images = Images(pixels, torch.arange(number) % 2, ("even", "odd"))
    return Knowledge(images, observe, expected=expected, front=nn.Flatten(), randomized=True, channel=channel)


def density(law: str, z: float, location: float, scale: float) -> float:
    if law == "laplace":
        return math.exp(-abs(z - location) / scale) / (2 * scale)
    return math.exp(-((z - location) ** 2) / (2 * scale**2)) / (scale * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("law", ["laplace", "gaussian"])
@pytest.mark.parametrize("exponent", [1.0, 0.3])
def test_the_posterior_mean_is_bayes_estimate_by_brute_force(law: str, exponent: float) -> None:
    knowledge = toy(law)
    attack = build("posterior_mean", {})
    assert isinstance(attack, Inverter)
    attack.begin(knowledge, torch.Generator().manual_seed(0))
    own = candidates(attack._begun, attack._begun.auxiliary.fit)
    seen = attack._begun.validation.seen
    (made,) = posterior_means(own, seen, [exponent], batch=2)
    for at in range(len(seen)):
        total, mean = 0.0, torch.zeros(4, dtype=torch.float64)
        for j in range(len(own)):
            if int(own.labels[j]) != int(seen.labels[at]):
                continue
            weight = 1.0
            for k in range(3):
                numbers = (seen.rows[at, k], own.channel.location[j, k], own.channel.scale[j, k])
                weight *= density(law, *map(float, numbers))
            total += weight**exponent
            mean += weight**exponent * own.images[j].double()
        torch.testing.assert_close(made[at].double(), mean / total, atol=1e-5, rtol=1e-5)


def test_the_posterior_mean_over_the_true_images_is_not_beaten_by_any_other_exponent() -> None:
    """With the victims as candidates and all noise known, Bayes' estimate has the least squared error."""
    knowledge = toy("laplace", number=400)
    attack = build("posterior_mean", {})
    assert isinstance(attack, Inverter)
    attack.begin(knowledge, torch.Generator().manual_seed(0))
    target = attack._begun
    own = candidates(target, target.auxiliary.fit)
    draws = [target.observe(target.auxiliary.fit) for _ in range(20)]
    errors = {}
    for exponent in (0.25, 0.5, 1.0, 2.0, 4.0):
        made = [posterior_means(own, pairs.seen, [exponent], batch=200)[0] - pairs.targets for pairs in draws]
        errors[exponent] = float(torch.cat(made).square().mean())
    assert min(errors, key=errors.__getitem__) == 1.0, errors


def test_noise_that_the_defense_does_not_state_is_measured() -> None:
    knowledge = toy("gaussian", number=400, says=False)
    attack = build("posterior_mean", {})
    assert isinstance(attack, Inverter)
    attack.begin(knowledge, torch.Generator().manual_seed(0))
    own = candidates(attack._begun, attack._begun.auxiliary.fit)
    assert own.channel.law == "gaussian"
    torch.testing.assert_close(own.channel.scale.mean(), torch.tensor(0.3), atol=0.05, rtol=0)


def linear_world(noise: float) -> World:
    """A front without a ReLU, so that image and activation are as jointly Gaussian as the images are."""
    here = world(noise=noise, width=24)
    linear = here.front[:2]  # type: ignore[index]

    def observe(pixels: Tensor, draws: torch.Generator) -> Tensor:
        sent: Tensor = linear(pixels)
        return sent + noise * torch.randn(sent.shape, generator=draws)

    return replace(here, knowledge=replace(here.knowledge, observe=observe, expected=linear))


def test_equations_under_one_gaussian_are_ridge_regression() -> None:
    """The prior of all images, no pixel's own variance: least squares on z with the slack as the penalty."""
    here = linear_world(0.0)
    pixels = here.knowledge.auxiliary.pixels
    with torch.no_grad():
        outputs = here.knowledge.expected(pixels)
        activation = here.knowledge.expected(here.victims.pixels)
    prior = class_prior(pixels.flatten(1), outputs, len(pixels), None)
    slack = 0.05
    made = prior.of_class(activation, torch.ones_like(activation, dtype=torch.bool), slack)
    # ridge regression of centered features with the same penalty, by its own formula
    centered, targets = outputs - outputs.mean(dim=0), pixels.flatten(1)
    penalty = slack * float((centered.T @ centered / len(pixels)).diagonal().mean())
    gram = centered.T @ centered / len(pixels) + penalty * torch.eye(centered.shape[1])
    weight = torch.linalg.solve(gram, centered.T @ (targets - targets.mean(dim=0)) / len(pixels))
    expected = (activation - outputs.mean(dim=0)) @ weight + targets.mean(dim=0)
    torch.testing.assert_close(made, expected, atol=2e-4, rtol=1e-3)


def test_all_images_as_neighbors_are_the_whole_class() -> None:
    here = linear_world(0.0)
    pixels = here.knowledge.auxiliary.pixels[:120]
    with torch.no_grad():
        outputs = here.knowledge.expected(pixels)
        activation = here.knowledge.expected(here.victims.pixels[:7])
    prior = class_prior(pixels.flatten(1), outputs, len(pixels), None)
    on = torch.ones_like(activation, dtype=torch.bool)
    every = torch.arange(len(pixels)).expand(len(activation), -1)
    near = prior.near(every, activation, on, Settings(len(pixels), 0.0, 0.05))
    torch.testing.assert_close(near, prior.of_class(activation, on, 0.05), atol=2e-4, rtol=1e-3)


def test_an_ensemble_of_all_images_with_equal_weights_is_ridge_regression() -> None:
    """Ridge regression on many draws of the noise, whose expectation adds its covariance to the features'."""
    noise = 0.4
    here = linear_world(noise)
    images = here.knowledge.auxiliary.pixels
    with torch.no_grad():
        outputs = here.knowledge.expected(images)
        activation = here.observed()[:40]
    rows, members = images.flatten(1), len(images)
    made = ensemble_update(
        rows.expand(len(activation), -1, -1),
        outputs.expand(len(activation), -1, -1),
        torch.full((len(activation), members), 1 / members),
        activation,
        torch.full_like(activation, noise**2),
    )
    draws = [here.knowledge.observe(images, torch.Generator().manual_seed(seed)) for seed in range(200)]
    ridge = fit_ridge([d.detach() for d in draws], rows, validation=(draws[0].detach(), rows), penalties=[1e-9])
    assert (made - ridge(activation.detach())).abs().mean() < 0.01


def test_equations_are_solved_and_what_is_off_is_held_to_its_bound() -> None:
    """At units that are on, the front gives for the estimate what was observed; of those that are off, fewer would be
    on than without the bound."""
    here = world(width=40)
    knowledge = replace(here.knowledge, pre_activation=here.front[:2])  # type: ignore[index]
    attack = build("lmmse", {})
    assert isinstance(attack, Inverter)
    attack.begin(knowledge, torch.Generator().manual_seed(0))
    known = through_relu(attack._begun, copies=0, batch=64)
    seen = attack._begun.seen(here.observed().detach(), here.victims.labels)
    prior, on = known.priors[10], seen.rows > 0
    settings = Settings(60, 0.3, 1e-6)
    assert known.affine is not None
    weight, offset = known.affine
    made = known._estimate(prior, seen.rows, settings)
    free = replace(known, bounded=True, affine=None)._estimate(prior, seen.rows, settings)
    given, given_free = (estimate @ weight.T + offset for estimate in (made, free))
    assert ((given - seen.rows)[on]).abs().max() < 0.02
    assert ((given_free - seen.rows)[on]).abs().max() < 0.02
    assert given[~on].clamp_min(0).mean() < 0.5 * given_free[~on].clamp_min(0).mean()


def test_a_front_is_found_affine_by_asking_and_one_that_is_not_is_not() -> None:
    here = world(width=12)
    plain = replace(here.knowledge, pre_activation=here.front[:2])  # type: ignore[index]
    found = affine_map(plain, here.victims.shape)
    assert found is not None
    linear = here.front[1]  # type: ignore[index]
    torch.testing.assert_close(found[0], linear.weight.detach(), atol=1e-5, rtol=1e-4)
    assert affine_map(here.knowledge, here.victims.shape) is None  # behind the ReLU
    assert affine_map(replace(plain, expensive=True), here.victims.shape) is None


def test_it_is_beyond_ridge_where_the_front_is_known() -> None:
    here = world(width=40)
    knowledge = replace(here.knowledge, pre_activation=here.front[:2])  # type: ignore[index]
    scores = {}
    for name in ("ridge", "lmmse"):
        attack = small(name)
        run(attack, knowledge)
        made = here.images(attack)
        scores[name] = float(psnr_db(made, here.victims.pixels).mean()), float(ssim(made, here.victims.pixels).mean())
    assert scores["lmmse"][0] > scores["ridge"][0] + 1.0, scores
    assert scores["lmmse"][1] > scores["ridge"][1], scores


@pytest.mark.parametrize("name", ["posterior_mean", "lmmse", "ridge"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_front_that_says_nothing_gives_one_guess_per_class(name: str, level: float) -> None:
    here = world()

    def constant(pixels: Tensor, _: torch.Generator | None = None) -> Tensor:
        return torch.full((len(pixels), 8), level)

    silent = replace(here.knowledge, observe=constant, expected=constant, pre_activation=constant)
    attack = small(name)
    evidence = run(attack, silent)
    guess = class_mean(here.knowledge.auxiliary, here.victims)
    made = attack.reconstruct(constant(here.victims.pixels), here.victims.labels)  # type: ignore[call-arg]
    assert (made - guess).abs().mean() < 0.05
    for label in range(10):
        of_class = made[here.victims.labels == label]
        assert (of_class - of_class[:1]).abs().max() < 1e-3, "it tells images of a class apart"
    assert evidence.start_psnr_db is not None
    assert evidence.validation_psnr_db <= evidence.start_psnr_db + 0.1


def test_the_exponents_reach_from_the_mean_to_the_likeliest() -> None:
    assert min(EXPONENTS) <= 1e-4
    assert max(EXPONENTS) >= 100
    assert 1.0 in EXPONENTS
