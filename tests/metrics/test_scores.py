"""Re-identification, bootstrap, baselines and the entry in the results."""

from __future__ import annotations

import pytest
import torch

from splitfed.metrics import (
    METRICS,
    bootstrap_ci95,
    class_mean,
    mean_image,
    nearest_auxiliary,
    predictor_score,
    psnr_db,
    reid_top1,
    score,
)
from splitfed.metrics.gates import finite
from splitfed.metrics.reid import chance_in_class, hits_among, matched_hits, no_better_than_chance
from splitfed.records.measures import MEASURES
from splitfed.types import Images


def random_images(count: int, seed: int, classes: int = 3, edge: int = 12) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 1, edge, edge, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Images(pixels, labels, tuple(f"class {k}" for k in range(classes)))


def test_a_perfect_reconstruction_is_always_recognized() -> None:
    pixels = random_images(40, seed=0).pixels
    assert reid_top1(pixels, pixels) == (1.0, 1 / 40, 40)


def test_shuffled_reconstructions_are_recognized_at_chance_level() -> None:
    pixels = random_images(40, seed=0).pixels
    assert reid_top1(pixels.roll(1, dims=0), pixels).rate == 0.0


def test_one_guess_for_all_is_right_once() -> None:
    pixels = random_images(40, seed=0).pixels
    assert reid_top1(pixels[:1].expand_as(pixels), pixels).rate == 1 / 40


def test_a_tie_is_a_miss() -> None:
    pixels = random_images(10, seed=0).pixels
    pixels[7] = pixels[3]
    assert reid_top1(pixels, pixels).rate == 0.8


def test_re_identification_takes_the_first_n_images() -> None:
    pixels = random_images(30, seed=0).pixels
    guesses = pixels.clone()
    guesses[20:] = 0
    assert reid_top1(guesses, pixels, n=20) == (1.0, 1 / 20, 20)


def test_originals_are_sought_among_all_candidates_by_those_that_were_reconstructed() -> None:
    pixels = random_images(30, seed=0).pixels
    asked = torch.tensor([4, 17, 29])
    assert hits_among(pixels[asked], pixels, asked).tolist() == [True, True, True]
    assert hits_among(pixels[asked], pixels, asked.flip(0)).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="at least one image"):
        hits_among(pixels[:0], pixels, asked[:0])


def test_the_likeliest_candidate_is_found_and_a_tie_is_a_miss() -> None:
    scores = torch.tensor([[-1.0, -2.0, -3.0], [-5.0, -5.0, -9.0], [-4.0, -1.0, -2.0]])
    assert matched_hits(scores).tolist() == [True, False, False]
    # who knows the label compares with its own class alone
    assert matched_hits(scores, torch.tensor([0, 1, 0])).tolist() == [True, True, True]
    assert not matched_hits(torch.zeros(5, 5)).any()


def test_chance_within_the_class_and_what_is_no_better() -> None:
    labels = torch.tensor([0] * 10 + [1] * 40)
    assert chance_in_class(labels) == pytest.approx((10 / 10 + 40 / 40) / 50)
    hits = torch.zeros(1000, dtype=torch.bool)
    assert no_better_than_chance(hits, 0.006)
    hits[:15] = True  # expected are 6, with a standard deviation of 2.4
    assert no_better_than_chance(hits, 0.006)
    hits[:17] = True
    assert not no_better_than_chance(hits, 0.006)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(100, 60, generator=generator)
    intervals = [bootstrap_ci95(sample, seed=seed) for seed, sample in enumerate(samples)]
    covered = sum(low <= 0 <= high for low, high in intervals)
    assert 88 <= covered <= 99  # three standard deviations around 95, less the percentile method's bias


def test_the_bootstrap_repeats_under_a_seed() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    assert bootstrap_ci95(values, seed=1) == bootstrap_ci95(values, seed=1)
    assert bootstrap_ci95(values, seed=1) != bootstrap_ci95(values, seed=2)


def test_trivial_predictors_are_fitted_on_the_auxiliary_images_only() -> None:
    auxiliary, victims = random_images(60, seed=1), random_images(9, seed=2)
    for index, label in enumerate(victims.labels.tolist()):
        own_class = auxiliary.pixels[auxiliary.labels == label].mean(dim=0)
        torch.testing.assert_close(class_mean(auxiliary, victims)[index], own_class)
        torch.testing.assert_close(mean_image(auxiliary, victims)[index], auxiliary.pixels.mean(dim=0))


def test_a_class_that_the_attacker_has_never_seen_gets_the_mean_image() -> None:
    auxiliary, victims = random_images(60, seed=1), random_images(9, seed=2)
    auxiliary = auxiliary[auxiliary.labels != 2]
    unseen = victims.labels == 2
    assert bool(unseen.any())
    torch.testing.assert_close(class_mean(auxiliary, victims)[unseen], mean_image(auxiliary, victims)[unseen])


def test_the_class_mean_beats_the_mean_image_where_classes_differ() -> None:
    auxiliary, victims = (random_images(n, seed=n) for n in (90, 30))
    for images in (auxiliary, victims):
        images.pixels.mul_(0.2).add_(0.4 * images.labels.view(-1, 1, 1, 1))
    by_class = psnr_db(class_mean(auxiliary, victims), victims.pixels).mean()
    assert by_class > psnr_db(mean_image(auxiliary, victims), victims.pixels).mean() + 3


def test_the_nearest_auxiliary_image_is_that_of_a_search_through_all() -> None:
    auxiliary, victims = random_images(60, seed=1), random_images(600, seed=2)
    found = nearest_auxiliary(auxiliary, victims)
    for image, nearest in zip(victims.pixels, found, strict=True):
        errors = (auxiliary.pixels - image).square().flatten(1).mean(dim=1)
        torch.testing.assert_close((nearest - image).square().mean(), errors.min())
    torch.testing.assert_close(nearest_auxiliary(victims, victims), victims.pixels)


def test_a_score_follows_the_schema() -> None:
    truth = random_images(50, seed=3)
    guess = (truth.pixels + 0.1).clamp(0, 1)
    class_mean_psnr = psnr_db(class_mean(random_images(60, seed=1), truth), truth.pixels)
    entry = score(guess, truth, class_mean_psnr_db=class_mean_psnr, seed=0)
    assert set(entry) == {
        "psnr_db", "psnr_db_ci95", "psnr_db_p99", "psnr_excess_db",
        "ssim", "ssim_ci95", "ssim_cropped", "reid_top1", "reid_chance", "n",
    }  # fmt: skip
    assert finite(entry).passed
    psnr = psnr_db(guess, truth.pixels)
    assert entry["psnr_db"] == pytest.approx(psnr.mean().item())
    assert entry["psnr_excess_db"] == pytest.approx((psnr - class_mean_psnr).mean().item(), abs=1e-4)
    assert entry["psnr_db_ci95"][0] <= entry["psnr_db"] <= entry["psnr_db_ci95"][1]
    assert entry["psnr_db"] < entry["psnr_db_p99"] <= psnr.max().item()
    for name in MEASURES.keys() & entry.keys():
        assert MEASURES[name].low <= entry[name] <= MEASURES[name].high
    assert METRICS.keys() <= entry.keys() & MEASURES.keys()
    for name, metric in METRICS.items():
        assert metric.measure is MEASURES[name]
        assert entry[name] == pytest.approx(metric.of_images(guess, truth.pixels).double().mean().item())
    assert predictor_score(guess, truth) == pytest.approx({name: entry[name] for name in METRICS})


def test_images_smaller_than_the_window_have_no_cropped_score() -> None:
    small = random_images(5, seed=3, edge=8)
    entry = score(small.pixels, small, class_mean_psnr_db=torch.zeros(5), seed=0)
    assert entry["ssim_cropped"] is None
    assert entry["ssim"] == pytest.approx(1.0)
    assert finite(entry).passed
    assert predictor_score(small.pixels, small)["ssim_cropped"] is None


def test_a_broken_reconstruction_is_seen_in_the_score() -> None:
    truth = random_images(10, seed=3)
    broken = truth.pixels.clone()
    broken[4, 0, 0, 0] = float("nan")
    entry = score(broken, truth, class_mean_psnr_db=torch.zeros(10), seed=0)
    assert not finite({"decoder": entry}).passed
