"""PSNR and SSIM agree with scikit-image and keep their declared ranges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from splitfed.metrics import psnr_db, ssim


def noisy_pair(count: int, channels: int, height: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(count, channels, height, width, generator=generator)
    noise = torch.randn(target.shape, generator=generator)
    return (target + 0.2 * noise).clamp(0, 1), target


def reference_ssim(reconstruction: Tensor, target: Tensor) -> float:
    """The mean of scikit-image's whole map, over one image."""
    _, whole_map = structural_similarity(  # type: ignore[no-untyped-call]
        reconstruction.double().numpy(),
        target.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=0,
        full=True,
    )
    return float(whole_map.mean())


@settings(max_examples=20, deadline=None)
@given(
    channels=st.sampled_from([1, 3]),
    height=st.integers(11, 30),
    width=st.integers(11, 30),
    seed=st.integers(0, 2**31),
)
def test_ssim_agrees_with_scikit_image(channels: int, height: int, width: int, seed: int) -> None:
    reconstruction, target = noisy_pair(2, channels, height, width, seed)
    expected = [reference_ssim(r, t) for r, t in zip(reconstruction, target, strict=True)]
    np.testing.assert_allclose(ssim(reconstruction, target).numpy(), expected, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(channels=st.sampled_from([1, 3]), edge=st.integers(1, 30), seed=st.integers(0, 2**31))
def test_psnr_agrees_with_scikit_image(channels: int, edge: int, seed: int) -> None:
    reconstruction, target = noisy_pair(2, channels, edge, edge, seed)
    expected = [
        peak_signal_noise_ratio(t.double().numpy(), r.double().numpy(), data_range=1)  # type: ignore[no-untyped-call]
        for r, t in zip(reconstruction, target, strict=True)
    ]
    np.testing.assert_allclose(psnr_db(reconstruction, target).numpy(), expected, atol=1e-3)


def test_identical_images_reach_the_top_of_both_ranges() -> None:
    _, target = noisy_pair(3, 1, 28, 28, seed=0)
    assert psnr_db(target, target).tolist() == [100.0] * 3
    torch.testing.assert_close(ssim(target, target), torch.ones(3))


def test_values_outside_the_range_are_clamped() -> None:
    white = torch.ones(1, 1, 12, 12)
    assert psnr_db(white * 3, white).item() == 100.0
    assert ssim(white * 3, white).item() == pytest.approx(1.0)


@pytest.mark.parametrize("edge", [1, 2, 8, 10])
def test_ssim_of_images_smaller_than_the_window(edge: int) -> None:
    reconstruction, target = noisy_pair(4, 1, edge, edge, seed=1)
    values = ssim(reconstruction, target)
    assert values.shape == (4,)
    assert bool((values <= 1).all())
    torch.testing.assert_close(ssim(target, target), torch.ones(4))


def test_each_image_is_scored_by_itself() -> None:
    reconstruction, target = noisy_pair(5, 3, 16, 16, seed=2)
    for metric in (psnr_db, ssim):
        whole = metric(reconstruction, target)
        alone = torch.cat([metric(reconstruction[i : i + 1], target[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(whole, alone)


@pytest.mark.parametrize("metric", [psnr_db, ssim])
def test_a_broadcast_is_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="differ in shape"):
        metric(torch.zeros(1, 1, 12, 12), torch.zeros(2, 1, 12, 12))
