"""The scores per image: what works each out, attached to its declaration.

What every number means, its range and its direction, is declared in `splitfed.records.measures`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from splitfed.metrics.quality import has_cropped, psnr_db, ssim, ssim_cropped
from splitfed.records.measures import MEASURES, Measure


@dataclass(frozen=True)
class Metric:
    """A score per image.

    Attributes:
        measure: what it means.
        of_images: reconstructions and originals, both (B, C, H, W) in [0, 1], to scores (B,).
        applies_to: whether images of this size have a score.
    """

    measure: Measure
    of_images: Callable[[Tensor, Tensor], Tensor]
    applies_to: Callable[[Tensor], bool] = lambda _: True

    def mean(self, reconstructions: Tensor, originals: Tensor) -> float | None:
        """The mean score, as it is reported; None for images that are too small to have one."""
        if not self.applies_to(originals):
            return None
        return float(self.of_images(reconstructions, originals).double().mean())


METRICS: dict[str, Metric] = {
    metric.measure.name: metric
    for metric in (
        Metric(MEASURES["psnr_db"], psnr_db),
        Metric(MEASURES["ssim"], ssim),
        Metric(MEASURES["ssim_cropped"], ssim_cropped, applies_to=has_cropped),
    )
}
"""By name. Re-identification (`reid`) and the Fréchet distances (`fid`) judge a set, not an image."""
