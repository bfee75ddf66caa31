"""What holds of every generator: shapes, range, repeatability, provenance, and a prior that its own samples fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from splitfed.errors import UserError
from splitfed.generators import GENERATORS, ImageGenerator, build, describe, images_of
from tests.generators.ready import OPTIONS, own_images, prepared


def test_none_is_left_out() -> None:
    assert OPTIONS.keys() == GENERATORS.keys()
    assert {name for name, line in describe() if line} == GENERATORS.keys()


def test_an_unknown_one_is_named_with_its_neighbor() -> None:
    with pytest.raises(UserError, match="unknown generator 'mixtur'; did you mean 'mixture'"):
        build("mixtur")


@pytest.fixture(params=sorted(OPTIONS), scope="module")
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageGenerator:
    return prepared(request.param, tmp_path_factory.mktemp("generator"))


def test_images_are_in_the_attackers_shape_and_in_range(generator: ImageGenerator) -> None:
    images = images_of(generator, generator.sample(37, torch.Generator().manual_seed(1)))
    assert tuple(images.shape) == (37, *own_images(generator.name).shape)
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert float(images.std(dim=0).mean()) > 1e-3, "they differ"


def test_the_same_seed_gives_the_same_images(generator: ImageGenerator, tmp_path: Path) -> None:
    def made(of: ImageGenerator, seed: int) -> torch.Tensor:
        return images_of(of, of.sample(5, torch.Generator().manual_seed(seed)))

    again = prepared(generator.name, tmp_path)
    assert torch.equal(made(generator, 3), made(again, 3))
    assert not torch.equal(made(generator, 3), made(generator, 4))


def test_each_image_is_made_by_itself(generator: ImageGenerator) -> None:
    latents = generator.sample(6, torch.Generator().manual_seed(1))
    alone = torch.cat([images_of(generator, latent[None]) for latent in latents])
    torch.testing.assert_close(images_of(generator, latents), alone, rtol=0, atol=1e-5)


def test_latents_get_gradients(generator: ImageGenerator) -> None:
    latents = generator.sample(3, torch.Generator().manual_seed(1)).requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(generator.synthesize(latents).square().sum(), [latents])
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())


def test_the_prior_holds_almost_all_of_its_samples(generator: ImageGenerator) -> None:
    samples = generator.sample(2000, torch.Generator().manual_seed(5))
    inside = float((generator.prior.distance(samples) <= 1).float().mean())
    assert inside >= 0.97


def test_what_lies_far_out_is_brought_back_and_the_rest_left_alone(generator: ImageGenerator) -> None:
    samples = generator.sample(64, torch.Generator().manual_seed(6))
    prior = generator.prior
    far = samples + 50 * prior.spread.view_as(samples[0]) * torch.sign(samples)
    held = prior.hold(far)
    assert bool((prior.distance(far) > 1).all())
    assert float(prior.distance(held).max()) <= 1 + 1e-4
    inside = samples[prior.distance(samples) <= 1]
    assert torch.equal(prior.hold(inside), inside)


def test_it_says_where_it_comes_from(generator: ImageGenerator) -> None:
    said = generator.provenance()
    assert said.origin.strip()
    assert said.license.strip()
