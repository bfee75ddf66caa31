"""Every number that a table shows, declared once: its name, label, unit, range, direction, and how it is written.

Tables, arrows, plots and docs read it here. What works the numbers out is in `splitfed.metrics`; this module is plain
Python, so that a report is written without loading any of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]
Form = Literal["number", "signed", "percent", "bytes"]
"""How a value is written: with so many digits, with its sign too, as a share of 100 %, or in kB and MB."""

ARROWS: dict[Better, str] = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a number in the results means.

    Attributes:
        name: its key in `results.json`.
        label: what heads its column, its unit included.
        better: the direction in which the defender is better off.
        low: the least possible value.
        high: the greatest possible value.
        unit: the unit, empty for a plain number.
        digits: how many a table shows behind the point, of a percentage too.
        form: how it is written.
        meaning: one line for a reader.
    """

    name: str
    label: str
    better: Better
    low: float
    high: float
    digits: int
    meaning: str
    unit: str = ""
    form: Form = "number"

    @property
    def arrow(self) -> str:
        """The direction that is better for the defender."""
        return ARROWS[self.better]

    @property
    def heading(self) -> str:
        """The label with the arrow.

        >>> MEASURES["psnr_db"].heading
        'PSNR dB ↓'
        """
        return f"{self.label} {self.arrow}"

    @property
    def range(self) -> str:
        """The possible values, as docs write them.

        >>> MEASURES["psnr_db"].range, MEASURES["fid"].range
        ('0 to 100 dB', 'from 0')
        """
        if math.isinf(self.high):
            return f"from {self.low:g} {self.unit}".rstrip()
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            name="accuracy",
            label="accuracy",
            better="higher",
            low=0.0,
            high=1.0,
            digits=3,
            meaning="held-out images that the defended model classifies correctly; the majority-class rate stands "
            "beside it",
        ),
        Measure(
            name="psnr_db",
            label="PSNR dB",
            better="lower",
            low=0.0,
            high=100.0,
            unit="dB",
            digits=1,
            meaning="peak signal-to-noise ratio at data range 1, mean over images; identical images count as 100 dB",
        ),
        Measure(
            name="psnr_db_p99",
            label="PSNR p99 dB",
            better="lower",
            low=0.0,
            high=100.0,
            unit="dB",
            digits=1,
            meaning="the same for the worst-protected percent of the images",
        ),
        Measure(
            name="psnr_excess_db",
            label="excess dB",
            better="lower",
            low=-100.0,
            high=100.0,
            unit="dB",
            digits=1,
            form="signed",
            meaning="PSNR above the class mean: any useful model leaks the class, more is leakage of the individual",
        ),
        Measure(
            name="ssim",
            label="SSIM",
            better="lower",
            low=-1.0,
            high=1.0,
            digits=3,
            meaning="structural similarity, 11-tap Gaussian window, mean over the whole map (torchmetrics)",
        ),
        Measure(
            name="ssim_cropped",
            label="SSIM cropped",
            better="lower",
            low=-1.0,
            high=1.0,
            digits=3,
            meaning="the same without a border of 5 pixels (scikit-image's scalar)",
        ),
        Measure(
            name="reid",
            label="re-id",
            better="lower",
            low=0.0,
            high=1.0,
            digits=1,
            form="percent",
            meaning="how often the image behind an activation is found among N victims of all clients: the larger of "
            "the next two, over all attacks",
        ),
        Measure(
            name="reid_matched",
            label="re-id front",
            better="lower",
            low=0.0,
            high=1.0,
            digits=1,
            form="percent",
            meaning="the same by the likelihood of each candidate, given the activation, the known front, and the "
            "noise; no attack's pixels take part",
        ),
        Measure(
            name="reid_top1",
            label="re-id pixels",
            better="lower",
            low=0.0,
            high=1.0,
            digits=1,
            form="percent",
            meaning="how often the nearest of N true images to a reconstruction is its own original, by pixels; "
            "chance is 1/N",
        ),
        Measure(
            name="ideal_reid",
            label="re-id ideal",
            better="lower",
            low=0.0,
            high=1.0,
            digits=1,
            form="percent",
            meaning="how often the ideal attacker finds the image behind an activation among the same N: nobody finds "
            "more",
        ),
        Measure(
            name="ideal_psnr_db",
            label="PSNR ideal dB",
            better="lower",
            low=0.0,
            high=math.inf,
            unit="dB",
            digits=1,
            meaning="that of the ideal attacker's mean squared error over the same N: nobody has a smaller one",
        ),
        Measure(
            name="information_bits",
            label="bits told",
            better="lower",
            low=0.0,
            high=math.inf,
            unit="bits",
            digits=2,
            meaning="what an activation, with its label where that is in clear, tells of which of the N images it is; "
            "at most log₂ N",
        ),
        Measure(
            name="information_bound_bits",
            label="bits bound",
            better="lower",
            low=0.0,
            high=math.inf,
            unit="bits",
            digits=1,
            meaning="an upper bound of the same for any images whose activations have these means and covariances",
        ),
        Measure(
            name="fid_lite0",
            label="FID lite0",
            better="higher",
            low=0.0,
            high=math.inf,
            digits=1,
            meaning="Fréchet distance between EfficientNet-Lite0 features of all reconstructions and all originals",
        ),
        Measure(
            name="fid",
            label="FID",
            better="higher",
            low=0.0,
            high=math.inf,
            digits=1,
            meaning="Fréchet distance between Inception-v3 features of all reconstructions and all originals",
        ),
        Measure(
            name="lite0_distance",
            label="lite0 distance",
            better="higher",
            low=0.0,
            high=2.0,
            digits=3,
            meaning="1 less the cosine of the EfficientNet-Lite0 features of a reconstruction and its original, mean "
            "over images",
        ),
        Measure(
            name="activation_bytes_per_image",
            label="bytes cut",
            better="lower",
            low=0.0,
            high=math.inf,
            unit="B",
            digits=2,
            form="bytes",
            meaning="what the codec makes of one image's activation",
        ),
        Measure(
            name="wire_bytes_per_image",
            label="bytes wire",
            better="lower",
            low=0.0,
            high=math.inf,
            unit="B",
            digits=2,
            form="bytes",
            meaning="frames sent and received for one training image, mean",
        ),
    )
}
"""By name, in the order in which a table shows them."""
