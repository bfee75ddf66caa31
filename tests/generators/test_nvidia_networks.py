"""Networks rebuilt from files against what NVIDIA's public code makes of the same weights.

The reference numbers were printed by github.com/NVlabs/stylegan2-ada-pytorch (d72cc7d) and github.com/NVlabs/stylegan3
(c233a91) on a CPU, with the weights of `nvidia_files.formula` (docs/plug_and_play.md says how).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from splitfed.generators.nvidia.filters import resample
from splitfed.generators.nvidia.reading import read_generator
from splitfed.generators.nvidia.stylegan2 import StyleSynthesis2
from splitfed.generators.nvidia.stylegan3 import StyleSynthesis3
from splitfed.generators.stylegan import rebuilt
from tests.generators.nvidia_files import Written, formula, stylegan2, stylegan3, write

# fmt: off
REFERENCE = {
    "skip": (
        (2, 3, 8, 8),
        [0.104358, 0.17415, 0.048869, -0.036399, 0.094079, 0.114939, 0.105106, 0.166707, 0.047679, -0.031713, 0.087767,
         0.126491],
        -0.024584, 0.328941,
    ),
    "resnet": (
        (2, 1, 8, 8),
        [0.127376, 0.031607, 0.218074, 0.272085, 0.181035, 0.074576, 0.068624, 0.114059, 0.187977, 0.085584, 0.176138,
         0.111537],
        0.110700, 0.087588,
    ),
    "config_t": (
        (2, 3, 16, 16),
        [-2.163651, -2.205199, 1.039854, 1.072509, -0.542522, -0.51691, -2.046589, -2.092659, 0.840616, 0.877753,
         -0.080836, -0.058483],
        -0.518837, 1.285756,
    ),
    "config_r": (
        (2, 1, 16, 16),
        [-0.393504, -0.6748, -0.749946, -0.677312, -0.802304, -0.609143, -0.593002, -0.530567, -0.390439, -0.690165,
         -0.637342, -0.495841],
        -0.599633, 0.128487,
    ),
}
# fmt: on
"""Shape, every n-th number of twelve, mean, and standard deviation."""

NETWORKS: dict[str, tuple[Callable[[], Written], type[StyleSynthesis2 | StyleSynthesis3]]] = {
    "skip": (lambda: stylegan2("skip", channels=3, classes=0, clamp=256), StyleSynthesis2),
    "resnet": (lambda: stylegan2("resnet", channels=1, classes=3, clamp=None), StyleSynthesis2),
    "config_t": (lambda: stylegan3(channels=3, kernel=3, radial=False), StyleSynthesis3),
    "config_r": (lambda: stylegan3(channels=1, kernel=1, radial=True), StyleSynthesis3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_images_are_those_of_the_original(name: str, tmp_path: Path) -> None:
    make, kind = NETWORKS[name]
    mapping, synthesis = rebuilt(read_generator(write(tmp_path / "net.pkl", make())))
    assert isinstance(synthesis, kind)
    labels = torch.tensor([0, 2]) if mapping.classes else None
    images = synthesis(mapping(formula("z", (2, 6)), labels, truncation=0.7))
    shape, numbers, mean, spread = REFERENCE[name]
    flat = images.flatten()
    assert tuple(images.shape) == shape
    assert flat[:: len(flat) // 12][:12].tolist() == pytest.approx(numbers, abs=1e-5)
    assert float(flat.mean()) == pytest.approx(mean, abs=1e-5)
    assert float(flat.std()) == pytest.approx(spread, abs=1e-5)


def test_resampling_is_zeros_a_margin_a_filter_and_every_nth_pixel() -> None:
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    taps = torch.tensor([0.1, 0.5, 0.3, 0.1])
    wide = torch.zeros(2, 3, 10 + 3, 8 + 3)
    wide[:, :, 2 : 2 + 10 : 2, 2 : 2 + 8 : 2] = x
    wanted = torch.zeros(2, 3, 10, 8)
    for row in range(10):
        for column in range(8):
            window = wide[:, :, row : row + 4, column : column + 4]
            wanted[:, :, row, column] = (window * torch.outer(taps, taps).flip(0, 1)).sum(dim=(2, 3)) * 4
    margins = (2, 1, 2, 1)
    torch.testing.assert_close(resample(x, torch.outer(taps, taps), up=2, margins=margins), wanted)
    torch.testing.assert_close(resample(x, taps, up=2, margins=margins), wanted)
    torch.testing.assert_close(resample(x, taps, up=2, down=3, margins=margins), wanted[:, :, ::3, ::3])


def test_margins_below_nothing_cut_off() -> None:
    x = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resample(x, None, margins=(-1, 0, 0, -2)), x[:, :, :3, 1:])


def test_truncation_goes_to_the_mean(tmp_path: Path) -> None:
    mapping, _ = rebuilt(read_generator(write(tmp_path / "net.pkl", NETWORKS["skip"][0]())))
    z = formula("z", (2, 6))
    torch.testing.assert_close(mapping(z, truncation=0.0), mapping.mean.expand(2, -1))
    half = (mapping(z) + mapping.mean) / 2
    torch.testing.assert_close(mapping(z, truncation=0.5), half)


def test_w_gets_gradients_through_either(tmp_path: Path) -> None:
    for name, (make, _) in NETWORKS.items():
        mapping, synthesis = rebuilt(read_generator(write(tmp_path / f"{name}.pkl", make())))
        w = mapping.mean.repeat(2, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(synthesis(w).square().sum(), [w])
        assert bool((gradient.norm(dim=1) > 0).all()), name
        assert not any(weight.requires_grad for weight in synthesis.parameters())
