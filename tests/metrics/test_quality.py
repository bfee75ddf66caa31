"""PSNR and SSIM are torchmetrics' and scikit-image's numbers; the fast ones stay within a stated bound of them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from splitfed.metrics import fast_psnr_db, fast_ssim, psnr_db, ssim, ssim_cropped

ALL = [psnr_db, ssim, ssim_cropped, fast_psnr_db, fast_ssim]
SHAPES = {"channels": st.sampled_from([1, 3]), "height": st.integers(11, 30), "width": st.integers(11, 30)}


def noisy_pair(count: int, channels: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(count, channels, height, width, generator=generator)
    noise = torch.randn(target.shape, generator=generator)
    return (target + 0.2 * noise).clamp(0, 1), target


def smooth_pair(count: int, channels: int, edge: int, seed: int) -> tuple[Tensor, Tensor]:
    """Soft shapes, and the same a little brighter and with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    target = torch.nn.functional.interpolate(coarse, size=(edge, edge), mode="bicubic").clamp(0, 1)
    noise = torch.randn(target.shape, generator=generator)
    return (target + 0.05 + 0.05 * noise).clamp(0, 1), target


def scikit_image(reconstruction: Tensor, target: Tensor) -> tuple[list[float], list[float]]:
    """Its scalar, which leaves out a border, and the mean of its whole map, image by image."""
    both = [
        structural_similarity(  # type: ignore[no-untyped-call]
            r.double().numpy(),
            t.double().numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=0,
            full=True,
        )
        for r, t in zip(reconstruction, target, strict=True)
    ]
    return [float(scalar) for scalar, _ in both], [float(whole.mean()) for _, whole in both]


@settings(max_examples=20, deadline=None)
@given(**SHAPES, seed=st.integers(0, 2**31))
def test_the_fast_map_is_scikit_images_and_so_is_the_cropped_scalar(
    channels: int, height: int, width: int, seed: int
) -> None:
    reconstruction, target = noisy_pair(2, channels, height, width, seed)
    scalars, means = scikit_image(reconstruction, target)
    np.testing.assert_allclose(fast_ssim(reconstruction, target).numpy(), means, atol=1e-6)
    np.testing.assert_allclose(ssim_cropped(reconstruction, target).numpy(), scalars, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(channels=st.sampled_from([1, 3]), edge=st.integers(1, 30), seed=st.integers(0, 2**31))
def test_psnr_agrees_with_scikit_image(channels: int, edge: int, seed: int) -> None:
    reconstruction, target = noisy_pair(2, channels, edge, edge, seed)
    expected = [
        peak_signal_noise_ratio(t.double().numpy(), r.double().numpy(), data_range=1)  # type: ignore[no-untyped-call]
        for r, t in zip(reconstruction, target, strict=True)
    ]
    np.testing.assert_allclose(psnr_db(reconstruction, target).numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(fast_psnr_db(reconstruction, target), psnr_db(reconstruction, target), atol=1e-5)


@pytest.mark.parametrize(("channels", "edge"), [(1, 8), (1, 28), (3, 32)])
def test_what_is_reported_are_the_numbers_of_torchmetrics_own_classes(channels: int, edge: int) -> None:
    reconstruction, target = noisy_pair(70, channels, edge, edge, seed=3)
    structure = StructuralSimilarityIndexMeasure(sigma=1.5, kernel_size=11, data_range=1.0)
    structure.update(reconstruction, target)
    assert float(ssim(reconstruction, target).mean()) == pytest.approx(
        torch.as_tensor(structure.compute()).item(), abs=1e-6
    )
    peak = PeakSignalNoiseRatio(data_range=(0.0, 1.0), reduction="elementwise_mean", dim=(1, 2, 3))
    peak.update(reconstruction, target)
    assert float(psnr_db(reconstruction, target).mean()) == pytest.approx(float(peak.compute()), abs=1e-4)


@pytest.mark.parametrize("pair", ["noisy", "smooth"])
def test_fast_ssim_is_near_the_reported_one(pair: str) -> None:
    """They differ in how images go on beyond their edges: the more, the smaller the images are."""
    for channels, edge, of_each, of_all in ((1, 28, 0.02, 0.002), (3, 32, 0.02, 0.002), (1, 64, 0.005, 0.001)):
        reconstruction, target = (
            noisy_pair(200, channels, edge, edge, seed=0) if pair == "noisy" else smooth_pair(200, channels, edge, 0)
        )
        difference = fast_ssim(reconstruction, target) - ssim(reconstruction, target)
        assert float(difference.abs().max()) < of_each
        assert abs(float(difference.mean())) < of_all


def test_identical_images_reach_the_top_of_every_range() -> None:
    """torchmetrics' PSNR is infinite where nothing differs; ours ends at 100 dB, so that means stay finite."""
    _, target = noisy_pair(3, 1, 28, 28, seed=0)
    for psnr in (psnr_db, fast_psnr_db):
        assert psnr(target, target).tolist() == [100.0] * 3
        assert psnr(target + 1e-6, target).tolist() == [100.0] * 3
    for similarity in (ssim, ssim_cropped, fast_ssim):
        torch.testing.assert_close(similarity(target, target), torch.ones(3))


def test_values_outside_the_range_are_clamped() -> None:
    white = torch.ones(1, 1, 12, 12)
    for psnr in (psnr_db, fast_psnr_db):
        assert psnr(white * 3, white).item() == 100.0
    for similarity in (ssim, ssim_cropped, fast_ssim):
        assert similarity(white * 3, white).item() == pytest.approx(1.0)


@pytest.mark.parametrize("edge", [1, 2, 8, 10])
def test_fast_ssim_of_images_smaller_than_the_window(edge: int) -> None:
    reconstruction, target = noisy_pair(4, 1, edge, edge, seed=1)
    values = fast_ssim(reconstruction, target)
    assert values.shape == (4,)
    assert bool((values <= 1).all())
    torch.testing.assert_close(fast_ssim(target, target), torch.ones(4))


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 6×6 pixels, got 5×12"):
        ssim(torch.zeros(1, 1, 5, 12), torch.zeros(1, 1, 5, 12))
    with pytest.raises(ValueError, match="at least 11×11 pixels, got 10×10"):
        ssim_cropped(torch.zeros(1, 1, 10, 10), torch.zeros(1, 1, 10, 10))
    assert ssim(torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6)).item() == 1.0


def test_each_image_is_scored_by_itself() -> None:
    reconstruction, target = noisy_pair(5, 3, 16, 16, seed=2)
    for metric in ALL:
        whole = metric(reconstruction, target)
        alone = torch.cat([metric(reconstruction[i : i + 1], target[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(whole, alone)


@pytest.mark.parametrize("metric", ALL)
def test_a_broadcast_is_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="differ in shape"):
        metric(torch.zeros(1, 1, 12, 12), torch.zeros(2, 1, 12, 12))


@pytest.mark.parametrize(
    "module", ["splitfed.attacks", "splitfed.attacker.role", "splitfed.experiment.run", "splitfed.data"]
)
def test_what_takes_seconds_to_import_is_imported_where_it_is_used(module: str) -> None:
    heavy = ("torchmetrics", "torchvision", "skimage", "matplotlib")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
