"""Random pairs say what they say about anything of the right class, and controls are what they are called."""

from __future__ import annotations

import pytest
import torch

from splitfed.errors import DataError
from splitfed.metrics.inversion_controls import control_images, random_pairs
from splitfed.metrics.predictors import class_means
from splitfed.types import Images
from tests.attacks.worlds import digits

OWN, VICTIMS = digits()[:600], digits()[600:1200]
LABELS = torch.arange(10).repeat(20)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_controls_are_of_the_class_that_was_asked_for() -> None:
    shown = control_images(OWN, LABELS, draws=draws())
    assert torch.equal(shown["class_mean"], class_means(OWN)[LABELS])
    by_hash = dict(zip(OWN.content_hashes(), OWN.labels.tolist(), strict=True))
    real = Images(shown["auxiliary"], LABELS, OWN.classes)
    assert [by_hash[each] for each in real.content_hashes()] == LABELS.tolist()


def test_random_pairs_of_real_images_score_below_the_class_mean() -> None:
    real = control_images(OWN, LABELS, draws=draws())["auxiliary"]
    pairs = random_pairs(real, LABELS, VICTIMS, OWN, draws=draws(1))
    assert pairs.n == 200
    assert pairs.psnr_db < pairs.class_mean_psnr_db
    means = random_pairs(class_means(OWN)[LABELS], LABELS, VICTIMS, OWN, draws=draws(1))
    assert (means.psnr_db, means.ssim) == (pairs.class_mean_psnr_db, pairs.class_mean_ssim)


def test_a_pair_of_one_image_with_itself_is_perfect() -> None:
    one = VICTIMS[:1]
    pairs = random_pairs(one.pixels, one.labels, one, OWN, draws=draws())
    assert pairs.psnr_db == 100.0
    assert pairs.ssim == pytest.approx(1.0)


def test_a_class_without_images_is_named() -> None:
    without = OWN[OWN.labels != 3]
    with pytest.raises(DataError, match="class '3' has no auxiliary images"):
        control_images(without, LABELS, draws=draws())
    with pytest.raises(DataError, match="class '3' has no private images"):
        random_pairs(OWN.pixels[:10], torch.full((10,), 3), without, OWN, draws=draws())
