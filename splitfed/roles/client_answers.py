"""What the server believes of a client's answer about its own images: numbers, as many as were asked for, in range."""

from __future__ import annotations

import math
from collections.abc import Mapping

from flwr.app import MetricRecord, RecordDict
from pydantic import ValidationError

from splitfed.errors import SplitfedError
from splitfed.records.measures import MEASURES
from splitfed.records.record import faults
from splitfed.roles.lab_protocol import Judged, Scored
from splitfed.roles.scoring_protocol import FIGURES, HIT, IMAGE, NUMBERS

SCORES = ("psnr_db", "ssim", "ssim_cropped")


class BadAnswer(SplitfedError):
    """An answer that cannot be used; the message says why."""


def scored(answer: RecordDict, what: str, client: int, asked: int, images: int, *, baseline: bool) -> Scored:
    """A client's scores.

    Args:
        answer: as it came.
        what: the attack or predictor that it is about.
        client: whose answer it is.
        asked: pictures that it was asked about.
        images: that it trains on.
        baseline: whether it is about a predictor.

    Raises:
        BadAnswer: it is something else, or of other images.
    """
    numbers = _record(answer, NUMBERS)
    image, hit = _listed(numbers, IMAGE), _listed(numbers, HIT)
    scores = {name: _listed(numbers, name) for name in SCORES}
    if len(set(image)) != asked or not all(isinstance(row, int) and 0 <= row < images for row in image):
        raise BadAnswer(f"it scored {len(image)} images, not the {asked} that it was asked about")
    for name, values in scores.items():
        low, high = MEASURES[name].low, MEASURES[name].high
        if len(values) != asked and not (name == "ssim_cropped" and not values):
            raise BadAnswer(f"its {name} are {len(values)}; {asked} were asked for")
        if not all(low <= value <= high for value in values):
            raise BadAnswer(f"its {name} are not all in {low:g} to {high:g}")
    if len(hit) > asked or not set(hit) <= {0, 1}:
        raise BadAnswer(f"its {HIT} are {len(hit)} numbers, not 0 or 1 for some of {asked} images")
    return Scored(
        what=what,
        baseline=baseline,
        client=client,
        image=tuple(map(int, image)),
        hit=tuple(map(int, hit)),
        psnr_db=tuple(map(float, scores["psnr_db"])),
        ssim=tuple(map(float, scores["ssim"])),
        ssim_cropped=tuple(map(float, scores["ssim_cropped"])),
    )


def judged(answer: RecordDict, client: int, classes: int) -> Judged:
    """What a client judged.

    Raises:
        BadAnswer: it is something else.
    """
    numbers = dict(_record(answer, NUMBERS).items())
    figures = dict(_record(answer, FIGURES))
    flags = {name: bool(numbers.pop(name, 0)) for name in ("same_classes", "synthetic")}
    counts = _listed(numbers, "test_counts")
    numbers.pop("test_counts", None)
    if low := sorted(name for name, value in numbers.items() if not isinstance(value, list) and value < 0):
        raise BadAnswer(f"its {low[0]} is {numbers[low[0]]}; expected 0 or more")
    try:
        found = Judged(client=client, test_counts=tuple(counts), figures=figures, **numbers, **flags)  # type: ignore
    except (ValidationError, TypeError) as error:
        raise BadAnswer(faults(error)[0] if isinstance(error, ValidationError) else str(error)) from error
    if len(found.test_counts) != classes or min(found.test_counts) < 0:
        raise BadAnswer(f"its held-out images are counted in {len(found.test_counts)} classes, not {classes}")
    if not all(math.isfinite(value) for value in found.figures.values()):
        raise BadAnswer("its figures are not all finite")
    return found


def _record(answer: RecordDict, name: str) -> MetricRecord:
    record = answer.metric_records.get(name)
    if record is None:
        raise BadAnswer(f"it has no {name}")
    return record


def _listed(numbers: Mapping[str, object], name: str) -> list[int] | list[float]:
    values = numbers.get(name, [])
    if not isinstance(values, list):
        raise BadAnswer(f"its {name} are no list")
    return values
