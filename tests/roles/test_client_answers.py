"""Of a client's scores the server believes nothing that it has not checked."""

from __future__ import annotations

import math

import pytest
from flwr.app import MetricRecord, RecordDict

from splitfed.roles.client_answers import BadAnswer, judged, scored
from splitfed.roles.lab_protocol import Judged, Scored

SCORES: dict[str, object] = {"image": [3, 1], "hit": [1, 0], "psnr_db": [20.1, 7.5], "ssim": [0.5, -0.25]}
COUNTS: dict[str, object] = {
    "checked": 2,
    "differing": 0,
    "findings": 1,
    "failed": 0,
    "shared": 0,
    "auxiliary": 8,
    "same_classes": 1,
    "synthetic": 0,
    "test_counts": [3, 4],
}


def answer(numbers: dict[str, object], figures: dict[str, float] | None = None) -> RecordDict:
    told = MetricRecord(numbers)  # type: ignore[arg-type]
    return RecordDict({"numbers": told, "figures": MetricRecord(dict(figures or {}))})


def of_two(numbers: dict[str, object]) -> Scored:
    return scored(answer(numbers), "ridge", 0, 2, 4, baseline=False)


def test_scores_that_fit_are_taken_as_they_are() -> None:
    found = of_two(SCORES)
    assert (found.image, found.hit, found.psnr_db, found.ssim, found.ssim_cropped) == (
        (3, 1),
        (1, 0),
        (20.1, 7.5),
        (0.5, -0.25),
        (),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": [3]}, "scored 1 images, not the 2"),
        ({"image": [3, 3]}, "scored 2 images, not the 2"),
        ({"image": [3, 4]}, "scored 2 images"),
        ({"image": [3, -1]}, "scored 2 images"),
        ({"image": [3.0, 1.0]}, "scored 2 images"),
        ({"image": 3}, "image are no list"),
        ({"psnr_db": [20.1]}, "psnr_db are 1; 2 were asked for"),
        ({"psnr_db": [20.1, math.nan]}, "psnr_db are not all in 0 to 100"),
        ({"psnr_db": [20.1, 1e9]}, "psnr_db are not all in 0 to 100"),
        ({"ssim": [0.5, 1.5]}, "ssim are not all in -1 to 1"),
        ({"ssim_cropped": [0.5]}, "ssim_cropped are 1; 2 were asked for"),
        ({"hit": [1, 2]}, "hit are 2 numbers"),
        ({"hit": [1, 0, 1]}, "hit are 3 numbers"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_with_what_is_wrong(change: dict[str, object], said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        of_two({**SCORES, **change})


def test_an_answer_without_numbers_is_refused() -> None:
    with pytest.raises(BadAnswer, match="no numbers"):
        scored(RecordDict({}), "ridge", 0, 2, 4, baseline=False)


def test_counts_that_fit_are_taken_as_they_are() -> None:
    found = judged(answer(COUNTS, {"delta": 1e-5}), 1, 2)
    assert isinstance(found, Judged)
    assert (found.client, found.same_classes, found.synthetic, found.test_counts) == (1, True, False, (3, 4))
    assert found.figures == {"delta": 1e-5}


@pytest.mark.parametrize(
    ("change", "figures", "said"),
    [
        ({"checked": 1.5}, {}, "checked"),
        ({"pixels": [1, 2]}, {}, "pixels"),
        ({"failed": -1}, {}, "failed is -1"),
        ({"test_counts": [3]}, {}, "counted in 1 classes, not 2"),
        ({"test_counts": [3, -4]}, {}, "counted in 2 classes"),
        ({"test_counts": 7}, {}, "test_counts are no list"),
        ({}, {"epsilon": math.nan}, "figures are not all finite"),
    ],
)
def test_counts_that_do_not_fit_are_refused(change: dict[str, object], figures: dict[str, float], said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        judged(answer({**COUNTS, **change}, figures), 1, 2)
