"""The white-box attack: what it adds to ridge, and how much of it it can afford."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from splitfed.attacks import build
from splitfed.attacks.descent import Descent, Weights, error_directions, total_variation
from splitfed.metrics import psnr_db, ssim
from splitfed.metrics.fingerprint import fingerprint
from tests.attacks.worlds import World, digits, run, small, world


def scores(name: str, here: World) -> tuple[float, float]:
    """On the victims: PSNR and SSIM."""
    attack = small(name)
    run(attack, here.knowledge)
    images = here.images(attack)
    return tuple(float(metric(images, here.victims.pixels).mean()) for metric in (psnr_db, ssim))  # type: ignore[return-value]


@pytest.mark.parametrize("sparse", [False, True])
def test_it_sees_more_than_ridge(sparse: bool) -> None:
    here = world(width=48, sparse=sparse)
    ridge, whitebox = scores("ridge", here), scores("whitebox", here)
    assert whitebox[0] > ridge[0] + (0.1 if sparse else 1.0), (ridge, whitebox)
    assert whitebox[1] > ridge[1], (ridge, whitebox)


def test_its_own_judgement_beats_ridges_and_holds_for_the_victims() -> None:
    here = world(width=48)
    ridge, whitebox = (run(small(name), here.knowledge) for name in ("ridge", "whitebox"))
    assert whitebox.validation_ssim > ridge.validation_ssim
    assert whitebox.validation_ssim == pytest.approx(scores("whitebox", here)[1], abs=0.03)


@pytest.mark.parametrize("sparse", [False, True])
def test_it_goes_on_from_the_best_attack_before_it(sparse: bool) -> None:
    here = world(width=48, sparse=sparse)
    ridge, decoder = small("ridge"), small("decoder")
    alone, built = small("whitebox"), small("whitebox")
    built.build_on([ridge, decoder])
    before = {attack: run(attack, here.knowledge) for attack in (ridge, decoder)}
    assert before[decoder].validation_ssim > before[ridge].validation_ssim
    weights = fingerprint(here.images(decoder))
    from_ridge, from_decoder = run(alone, here.knowledge), run(built, here.knowledge)
    assert from_decoder.start_ssim == pytest.approx(before[decoder].validation_ssim)
    if not sparse:
        assert from_decoder.validation_ssim > from_ridge.validation_ssim
    gain = from_decoder.validation_ssim - before[decoder].validation_ssim
    # a sparse front's gradient helps near the image only: the start may be left as it is, never made worse
    assert gain >= 0 if sparse else gain > 0.005
    assert fingerprint(here.images(decoder)) == weights, "the other attack was made to learn"


def test_until_it_has_worked_it_shows_ridges_images() -> None:
    here = world(width=48)
    ridge, whitebox = small("ridge"), small("whitebox")
    run(ridge, here.knowledge)
    whitebox.build_on([ridge])
    whitebox.begin(here.knowledge, torch.Generator().manual_seed(0))
    early = here.images(whitebox).clamp(0, 1)
    assert psnr_db(early, here.images(ridge)).mean() > 30


def test_where_the_front_says_nothing_it_leaves_ridge_alone() -> None:
    here = world(width=8)
    silent = replace(
        here.knowledge,
        observe=lambda pixels, _: torch.zeros(len(pixels), 8),
        expected=lambda pixels: 0 * pixels.flatten(1)[:, :8],
    )
    ridge, whitebox = (run(small(name), silent) for name in ("ridge", "whitebox"))
    assert whitebox.validation_ssim >= ridge.validation_ssim - 1e-6


def test_it_reconstructs_fewer_images_where_a_step_is_expensive() -> None:
    attack = small("whitebox")
    attack.begin(world().knowledge, torch.Generator())
    assert attack.most_observations() == 320
    attack = small("whitebox")
    attack.begin(world(sparse=True).knowledge, torch.Generator())
    assert attack.most_observations() == 128


def test_total_variation_counts_steps_in_both_directions() -> None:
    image = torch.zeros(1, 1, 3, 3)
    image[..., 1, 1] = 0.5
    assert total_variation(image).tolist() == [2.0]


def descent(images: Tensor) -> tuple[Descent, Tensor]:
    """A linear front that shows half of the pixels, from the mean image."""
    shown = images.flatten(1)[:, ::2]
    spread = torch.eye(images[0].numel()) * 0.3
    there = Descent(lambda x: x.flatten(1)[:, ::2], spread, torch.zeros(shown.shape[1]), scale=1.0)
    return there, shown


def test_descent_fits_what_is_shown_and_trusts_it_less_with_more_misfit() -> None:
    images = digits().pixels[:8]
    there, shown = descent(images)
    start = digits().pixels.mean(dim=0).expand_as(images)
    errors = []
    for misfit in (1e-4, 1.0):
        *_, last = there.images(start, shown, Weights(misfit, 0.0), steps=80)
        errors.append(float((last.flatten(1)[:, ::2] - shown).square().mean()))
        # the other half is not seen, and no prior speaks of it
        torch.testing.assert_close(last.flatten(1)[:, 1::2], start.flatten(1)[:, 1::2])
    assert errors[0] < 1e-3 < errors[1]


def test_descent_yields_the_start_first_and_one_image_per_step() -> None:
    images = digits().pixels[:3]
    there, shown = descent(images)
    path = list(there.images(images * 0.5, shown, Weights(1.0, 1.0), steps=4))
    assert len(path) == 5
    torch.testing.assert_close(path[0], images * 0.5)
    assert all(0 <= image.min() <= image.max() <= 1 for image in path)


@pytest.mark.parametrize("images", [20, 200])
def test_the_directions_have_the_covariance_of_the_errors(images: int) -> None:
    errors = torch.rand(images, 30, generator=torch.Generator().manual_seed(0)) - 0.5
    factor = error_directions(errors, errors)
    torch.testing.assert_close(factor @ factor.T, errors.T @ errors / images)
    torch.testing.assert_close(error_directions(errors, 2 * errors), 2 * factor)


def test_options_are_validated() -> None:
    with pytest.raises(ValueError, match="greater than or equal"):
        build("whitebox", {"steps": 0})
