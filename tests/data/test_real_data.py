"""Facts about the real Medical MNIST that show our reading of it to be right (DESIGN, section 7)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from splitfed import metrics
from splitfed.data import Dataset, load, split
from splitfed.data.celeba import HAIR
from splitfed.data.class_folders import MEDICAL_CLASSES

pytestmark = pytest.mark.real_data
IMAGES_SCORED = 3000


def test_all_images_are_read(real_medical_mnist: Dataset) -> None:
    assert len(real_medical_mnist) == 58_954
    assert real_medical_mnist.classes == MEDICAL_CLASSES
    counts = dict(zip(MEDICAL_CLASSES, np.bincount(real_medical_mnist.labels).tolist(), strict=True))
    assert counts == {**dict.fromkeys(MEDICAL_CLASSES, 10_000), "BreastMRI": 8_954}


def test_the_440_copies_are_left_out(real_medical_mnist: Dataset) -> None:
    parts = split(real_medical_mnist, train=6000, aux=6000, test=3000, seed=0)
    assert parts.duplicates == 440
    hashes = [set(part.content_hashes()) for part in (parts.train, parts.aux, parts.test)]
    assert len(set.union(*hashes)) == 15_000
    assert all(np.ptp(np.bincount(part.labels)) == 0 for part in (parts.train, parts.aux, parts.test))


def test_trivial_predictors_score_as_published(real_medical_mnist: Dataset) -> None:
    """Mean image 12.9 dB / SSIM 0.253, class mean 19.5 dB / 0.545, where SSIM averages over the whole map."""
    parts = split(real_medical_mnist, train=6000, aux=6000, test=IMAGES_SCORED, seed=0)
    known, labels = parts.aux.pixels.numpy()[:, 0], parts.aux.labels.numpy()
    means = np.stack([known[labels == label].mean(0) for label in range(len(MEDICAL_CLASSES))])
    truth, classes = parts.test.pixels.numpy()[:, 0], parts.test.labels.numpy()
    mean_image = [_scores(image, known.mean(0)) for image in truth]
    class_mean = [_scores(image, means[label]) for image, label in zip(truth, classes, strict=True)]
    for scores, psnr_db, ssim in ((mean_image, 12.9, 0.253), (class_mean, 19.5, 0.545)):
        measured = np.mean(scores, 0)
        assert measured[0] == pytest.approx(psnr_db, abs=0.15)  # the choice of the test images moves it by 0.05
        assert measured[1] == pytest.approx(ssim, abs=0.01)


def _scores(truth: np.ndarray, guess: np.ndarray) -> tuple[float, float]:
    _, ssim_map = structural_similarity(  # type: ignore[no-untyped-call]
        truth, guess, data_range=1, gaussian_weights=True, use_sample_covariance=False, full=True
    )
    psnr_db = peak_signal_noise_ratio(truth, guess, data_range=1)  # type: ignore[no-untyped-call]
    return float(psnr_db), float(ssim_map.mean())


def check_fast_ssim(dataset: Dataset, of_all: float) -> None:
    """That the SSIM that attacks learn by is near the one that is reported, and the cropped one scikit-image's."""
    parts = split(dataset, train=1000, aux=1000, test=10, seed=0)
    truth = parts.train.pixels
    mean, of_class = (guess(parts.aux, parts.train) for guess in (metrics.mean_image, metrics.class_mean))
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    for guess in (mean, of_class, truth + 0.05 * noise):
        difference = metrics.fast_ssim(guess, truth) - metrics.ssim(guess, truth)
        assert float(difference.abs().max()) < 0.025
        assert abs(float(difference.mean())) < of_all
        expected = [
            structural_similarity(  # type: ignore[no-untyped-call]
                *pair, data_range=1, gaussian_weights=True, use_sample_covariance=False, channel_axis=0
            )
            for pair in zip(truth[:50].double().numpy(), guess[:50].double().clamp(0, 1).numpy(), strict=True)
        ]
        np.testing.assert_allclose(metrics.ssim_cropped(guess[:50], truth[:50]).numpy(), expected, atol=1e-6)


def test_fast_ssim_is_near_the_reported_one(real_medical_mnist: Dataset) -> None:
    check_fast_ssim(real_medical_mnist, 0.0025)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_data_sets_are_read(name: str) -> None:
    data = load(name)
    assert data.pixels.shape == (70_000, 1, 28, 28)
    assert sorted(set(data.labels.tolist())) == list(range(10))
    check_fast_ssim(data, 0.008)  # black edges, which the two go on beyond in different ways


def test_cifar10_is_read_and_the_lossy_form_says_so() -> None:
    data = load("cifar10")
    assert data.pixels.shape == (60_000, 3, 32, 32)
    assert np.bincount(data.labels).tolist() == [6000] * 10
    check_fast_ssim(data, 0.001)
    assert data.caveat.startswith("LOSSY") == ("batch" not in data.note and "cifar-10" not in data.note)


def test_celeba_is_read_by_hair_and_by_attribute() -> None:
    hair = load("celeba")
    assert hair.shape == (3, 32, 32)
    assert hair.classes == HAIR
    assert "none or several" in hair.caveat
    male = load("celeba", attribute="Male")
    assert len(male) > len(hair)
    assert 0.35 < male.labels.mean() < 0.5  # 42 % of all faces
