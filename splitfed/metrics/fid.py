"""How far the set of reconstructions lies from the set of originals: `fid` and `fid_lite0`.

A set that looks like private images but shows none of them in particular scores well: read it beside PSNR,
SSIM and re-identification, never instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from splitfed.metrics.feature_networks import FeatureNetwork, InceptionNetwork, Lite0Network
from splitfed.metrics.fingerprint import fingerprint
from splitfed.metrics.frechet import Moments, frechet_distance, moments

NETWORKS: dict[str, Callable[[], FeatureNetwork]] = {"fid_lite0": Lite0Network, "fid": InceptionNetwork}
"""The networks by the metric that uses them; building one raises UserError where its package is missing."""

BATCH = 64
IMAGES_PER_FEATURE = 2


class FrechetMetric:
    """One Fréchet metric with its network loaded. It remembers the last originals, which cells share."""

    def __init__(self, name: str, network: FeatureNetwork) -> None:
        self.name = name
        self._network = network
        self._originals: tuple[str, Moments] | None = None

    @property
    def needed(self) -> int:
        """Images below which the covariance of the features is too poor to compare: twice their number."""
        return IMAGES_PER_FEATURE * self._network.features

    @property
    def requirement(self) -> str:
        """Why too few images give no number."""
        return f"{self.name} needs at least {IMAGES_PER_FEATURE} × {self._network.features:,} = {self.needed:,} images"

    def __call__(self, reconstructions: Tensor, originals: Tensor) -> float | None:
        """The distance, at least 0, up = better defense; None for fewer than `needed` images.

        Args:
            reconstructions: float32, (N, C, H, W), in [0, 1].
            originals: the same shape and range.
        """
        if len(originals) < self.needed:
            return None
        return frechet_distance(self._moments(reconstructions), self._moments_of_originals(originals))

    def _moments_of_originals(self, originals: Tensor) -> Moments:
        key = fingerprint([originals])
        if self._originals is None or self._originals[0] != key:
            self._originals = (key, self._moments(originals))
        return self._originals[1]

    def _moments(self, pixels: Tensor) -> Moments:
        return moments(torch.cat([self._network(batch) for batch in torch.split(pixels, BATCH)]))


def load_frechet_metrics(names: Iterable[str]) -> list[FrechetMetric]:
    """The metrics of these names, keys of `NETWORKS`, ready to use.

    Raises:
        UserError: a package or weights that are missing, and how to get them.
    """
    return [FrechetMetric(name, NETWORKS[name]()) for name in names]
