"""The mixture of Gaussians against what is known of it in closed form."""

from __future__ import annotations

import pytest
import torch

from splitfed.errors import UserError
from splitfed.generators import build, images_of
from splitfed.generators.mixture import Mixture
from splitfed.types import Images
from tests.generators.ready import own_images


def fitted(images: Images, **options: object) -> Mixture:
    mixture = build("mixture", options)
    assert isinstance(mixture, Mixture)
    mixture.prepare(images, torch.Generator().manual_seed(0))
    return mixture


def test_samples_have_the_mean_and_the_covariance_of_the_images() -> None:
    mixture = fitted(own_images(), directions=20, components=6)
    samples = images_of(mixture, mixture.sample(6000, torch.Generator().manual_seed(1))).flatten(1)
    rows = own_images().pixels.flatten(1)
    assert float((samples.mean(dim=0) - rows.mean(dim=0)).abs().max()) < 0.05
    assert float((samples.T.cov() - rows.T.cov()).norm() / rows.T.cov().norm()) < 0.35


def test_all_directions_give_the_images_back() -> None:
    mixture = fitted(own_images(), directions=64)
    rows = own_images().pixels.flatten(1)
    latents = (rows - mixture._mean) @ mixture._basis.T / mixture._scale
    torch.testing.assert_close(mixture.synthesize(latents), own_images().pixels, rtol=0, atol=1e-4)


def test_directions_are_orthonormal_and_sorted() -> None:
    mixture = fitted(own_images(), directions=20)
    torch.testing.assert_close(mixture._basis @ mixture._basis.T, torch.eye(20), rtol=0, atol=1e-5)
    assert torch.equal(mixture._scale, mixture._scale.sort(descending=True).values)


def test_the_stated_spread_is_that_of_the_samples() -> None:
    mixture = fitted(own_images(), directions=12, components=5)
    samples = mixture.sample(20000, torch.Generator().manual_seed(2))
    torch.testing.assert_close(samples.std(dim=0), mixture.prior.spread, rtol=0.05, atol=0)


def test_with_labels_samples_are_of_the_class_that_is_asked_for() -> None:
    images = own_images()
    mixture = fitted(images, directions=24, labeled=True)
    assert mixture.labeled
    means = torch.stack([images.pixels[images.labels == label].mean(dim=0) for label in range(10)]).flatten(1)
    for label in (0, 4, 6):
        samples = images_of(mixture, mixture.sample(50, torch.Generator().manual_seed(label), label))
        nearest = torch.cdist(samples.flatten(1), means).argmin(dim=1)
        assert float((nearest == label).float().mean()) > 0.7


def test_without_labels_they_do_not_matter() -> None:
    images = own_images()
    shuffled = Images(images.pixels, images.labels.flip(0), images.classes)
    draw = [fitted(each).sample(9, torch.Generator().manual_seed(3)) for each in (images, shuffled)]
    assert torch.equal(*draw)


def test_its_provenance_holds_the_images_that_it_was_fitted_to() -> None:
    assert fitted(own_images()).provenance().trained_on == set(own_images().content_hashes())


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (own_images()[:19], {}, "19 auxiliary images; it needs at least 20"),
        (Images(torch.full((30, 1, 8, 8), 0.5), torch.zeros(30).long(), ("a",)), {}, "all auxiliary images are equal"),
        (
            Images(own_images().pixels[:40], torch.zeros(40).long(), ("a", "b")),
            {"labeled": True},
            "class 'b' has fewer than 2 auxiliary images",
        ),
    ],
)
def test_what_it_cannot_be_fitted_to_is_refused(images: Images, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(images, **options)
